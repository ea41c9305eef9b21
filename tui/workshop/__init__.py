"""The parts of the workshop screen."""
