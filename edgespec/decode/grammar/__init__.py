"""Grammars over bytes: what a constrained answer may go on with, read from llama.cpp's notation."""
