"""Screens, each in its own file."""
