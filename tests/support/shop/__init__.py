"""An application of Django that tests migrate."""
