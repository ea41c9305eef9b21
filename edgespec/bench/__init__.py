"""Measuring: prompts, statistics, the comparison of plain with speculative decoding, and its reports."""
