"""Widgets, each in its own file."""
