"""What screens ask of the app: the engine, jobs, settings, and the messages that say what happened."""
