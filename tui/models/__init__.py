"""What the models screen knows of models: rows, details, and fetches under way. No widgets."""
