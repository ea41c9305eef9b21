"""Models: the table of those that are known, the details of one, and downloads."""
