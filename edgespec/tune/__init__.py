"""Makes, proves and remembers the fastest draft for a target on this machine."""
