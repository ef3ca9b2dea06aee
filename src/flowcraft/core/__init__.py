"""The protocol without the network: input in, effects out."""
