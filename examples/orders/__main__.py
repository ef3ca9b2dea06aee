"""Run it: `python -m examples.orders`, on a PostgreSQL of its own or on the one that DATABASE_URL names."""

import os

import uvicorn

from flowcraft.adapters.postgres.embedded import EmbeddedPostgres

os.environ["DATABASE_URL"] = os.environ.get("DATABASE_URL") or EmbeddedPostgres.start().dsn
uvicorn.run("examples.orders.app:app", port=int(os.environ.get("PORT", "8000")), access_log=False)
