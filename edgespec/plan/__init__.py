"""Predictions for machines and models that are not here."""
