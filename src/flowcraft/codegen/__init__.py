"""Codegen: generate TypeScript and AsyncAPI from the declared channels."""
