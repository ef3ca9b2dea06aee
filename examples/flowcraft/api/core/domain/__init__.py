"""The facts of the product and the rules of a run."""
