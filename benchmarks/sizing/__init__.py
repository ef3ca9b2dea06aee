"""Sizing: how many edges, servers of NATS and cores of PostgreSQL a load needs, and what breaks first."""
