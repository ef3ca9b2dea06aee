"""Checking: find parts of a channel that do not fit together, from the declaration to the component.

Readers produce facts, rules turn facts into findings, and reports print findings.
"""
