"""Adapters: the ports spoken in PostgreSQL, the services offered over HTTP."""
