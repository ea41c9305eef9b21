"""The chat: a transcript with its prompt, how conversations are kept, keys and slash commands."""
