"""Commands: what `flowcraft` can do, one module each."""
