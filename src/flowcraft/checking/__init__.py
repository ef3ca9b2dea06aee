"""Checking: whether the parts of a channel fit together, from the declaration to the component.

What was read are facts; rules turn facts into findings; reports tell them.
"""
