"""The dedicated server, where WebSockets deserve processes of their own.

`DATABASE_URL=postgresql://… flowcraft serve examples.flowcraft.api.realtime:realtime`
"""

from __future__ import annotations

from examples.flowcraft.api.adapters.visitors import VisitorAuthorizer
from examples.flowcraft.api.core.domain.channels import channels
from flowcraft import Realtime

realtime = Realtime(channels, authorizer=VisitorAuthorizer())
