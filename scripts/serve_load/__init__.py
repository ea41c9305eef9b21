"""A server under load: who asks, what is compared, and what its processes do meanwhile."""
