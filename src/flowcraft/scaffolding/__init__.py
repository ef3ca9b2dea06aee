"""Scaffolding: the procedure "add a channel" as a plan of edits; pure, until somebody applies the plan."""
