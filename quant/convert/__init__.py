"""The same model in another form: from Hugging Face's files, and in other types."""
