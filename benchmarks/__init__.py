"""Benchmarks: figures with the machine and the commit they were measured on."""
