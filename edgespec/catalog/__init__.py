"""What models there are, where they come from, and which fit together."""
