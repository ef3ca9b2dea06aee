"""A server with small limits, `tests.e2e.small:realtime`, on the database that DATABASE_URL names."""

from __future__ import annotations

import os

from flowcraft import Realtime, Settings
from tests.e2e.app import channels

# The page is served by another process, and so from another origin.
settings = Settings(any_origin=True, heartbeat_seconds=2, channels_per_connection=8, settles_per_connection=3)
realtime = Realtime(channels, dsn=os.environ["DATABASE_URL"], settings=settings)
