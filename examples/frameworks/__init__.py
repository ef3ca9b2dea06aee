"""The same small shop in FastAPI, Starlette, Litestar and Django; docs/guides/frameworks.md compares them."""
