"""What a worker process does beside chatting. Jobs pickle, and know no front door."""
