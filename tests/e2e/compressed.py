"""A server that compresses, `tests.e2e.compressed:realtime`, on the database that DATABASE_URL names."""

from __future__ import annotations

import os

from flowcraft import Realtime, Settings
from tests.e2e.app import channels

settings = Settings(any_origin=True, heartbeat_seconds=2, drain_seconds=0.5, compress=True)
realtime = Realtime(channels, dsn=os.environ["DATABASE_URL"], settings=settings)
