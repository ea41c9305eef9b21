"""Pruning: how much, what leaves, the repair of what stays, the file."""
