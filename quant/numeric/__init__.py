"""Arithmetic in numpy: least squares, one block's forward and backward pass, the training of a model's last blocks."""
