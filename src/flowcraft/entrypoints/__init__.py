"""Entrypoints: choose the parts and start them, for an application, a server or a shell."""
