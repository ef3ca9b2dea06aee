"""Faults: break everything between a row and a handler, and compare what the handlers received with the log.

`python -m faults` runs the scenarios. Our own tests use its `proxy`, `probe` and `histories` too.
"""
