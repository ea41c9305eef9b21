"""Arithmetic in numpy that knows no file: least squares, one block's forward and backward pass, training."""
