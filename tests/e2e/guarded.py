"""A server that wants tokens, `tests.e2e.guarded:realtime`, on the database that DATABASE_URL names."""

from __future__ import annotations

import os

from flowcraft import JwtAuthorizer, Realtime
from tests.e2e.app import channels, settings

SECRET = "a secret of thirty-two characters"
realtime = Realtime(
    channels, dsn=os.environ["DATABASE_URL"], settings=settings, authorizer=JwtAuthorizer(SECRET)
)
