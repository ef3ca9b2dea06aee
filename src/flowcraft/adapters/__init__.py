"""Adapters: where the ports meet PostgreSQL, the network and the rest of the world."""
