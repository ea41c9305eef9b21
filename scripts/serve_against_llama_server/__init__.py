"""edgespec's server beside llama.cpp's own, on the same files and prompts, in turns."""
