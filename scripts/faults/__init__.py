"""Faults on purpose: what edgespec leaves behind on an unlucky day. `make faults` runs it; Linux with a C compiler."""
