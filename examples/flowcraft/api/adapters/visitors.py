"""Visitors: whom the pages of the demo belong to, by what each browser says of itself.

A product has a login here, such as `JwtAuthorizer`. The demo has none: its token is an id and a name that the
browser has made up and keeps, and proves nothing. All that hangs on it is who is shown as present.
"""

from __future__ import annotations

import re

from flowcraft import Viewer
from flowcraft.errors import TokenInvalid

_TOKEN = re.compile(r"([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}) (\w[\w ]{0,39})")


class VisitorAuthorizer:
    """Implements `Authorizer`: a page without a token works, and is not shown."""

    required = False

    async def authenticate(self, token: str) -> Viewer:
        """Return the visitor that a token names."""
        named = _TOKEN.fullmatch(token)
        if named is None:
            raise TokenInvalid("it is no id and name of a visitor")
        return Viewer(named[1], {"name": named[2]})
