"""The terminal app. Only the command line imports it; it imports the core, and never prints."""
