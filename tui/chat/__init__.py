"""Conversations: what is said in them, how they are kept, and the commands that begin with a slash."""
