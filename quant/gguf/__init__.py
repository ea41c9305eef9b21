"""The GGUF that will be written: what it holds, where each tensor's bytes come from, and the recipe kept in it."""
