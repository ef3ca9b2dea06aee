"""Backends beside PostgreSQL, written against the ports."""
