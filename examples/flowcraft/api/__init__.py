"""The service of the workflow product."""
