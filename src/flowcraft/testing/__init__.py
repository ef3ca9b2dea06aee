"""Testing: what applications are tested with, and the contracts that every adapter passes."""
