"""The race: one prompt, plain and drafted, side by side."""
