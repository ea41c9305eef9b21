"""Many answers of one target, computed together: who reads, who writes, and what the cache holds for later."""
