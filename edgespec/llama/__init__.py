"""The llama layer: the only code that touches ctypes and llama_cpp."""
