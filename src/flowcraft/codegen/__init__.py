"""Codegen: what other languages need to know about the declared channels, written for them."""
