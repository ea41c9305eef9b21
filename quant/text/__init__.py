"""Text to measure on: calibration texts, the model's own answers, and the windows of tokens that they are cut into."""
