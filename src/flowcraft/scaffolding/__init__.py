"""Scaffolding: plan the edits that add a channel or start a project; only `edits.apply` changes files."""
