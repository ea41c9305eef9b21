"""Decoding: drafters propose, the target verifies, a cost model decides how much to draft."""
