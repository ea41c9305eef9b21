"""GGUF in, GGUF out: prune, repair, quantize and evaluate models, without torch and without loading them into Python."""
