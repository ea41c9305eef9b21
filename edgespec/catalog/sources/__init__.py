"""Where model files come from: the hub, wheels of a package index, the disk."""
