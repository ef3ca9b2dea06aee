"""Adapters to NATS: edges, which serve without a database, and the relays that they follow."""
