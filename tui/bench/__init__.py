"""Benchmarks: the runs that were saved, one that is measured, and the form that asks what to measure."""
