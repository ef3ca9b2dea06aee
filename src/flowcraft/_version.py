"""The version of the distribution, and of nothing else: the wire has its own."""

__version__ = "0.1.0"
