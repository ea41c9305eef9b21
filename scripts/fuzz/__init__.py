"""Damaged GGUF files for `scripts/fuzz_gguf.py`: what they are made of, how they are damaged, and who tries them."""
