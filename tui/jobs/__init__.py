"""What a worker process does beside chatting. Jobs pickle, and know nothing of the terminal."""
