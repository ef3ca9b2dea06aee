"""Testing: the contracts that every adapter passes, for your own adapters too."""
