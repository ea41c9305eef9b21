"""Runs figure 2: every variant of a model at every shape and batch size."""
