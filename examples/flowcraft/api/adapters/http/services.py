"""What the routes call, and how they get at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from examples.flowcraft.api.core.services import (
    AnnouncementService,
    DashboardService,
    FlowService,
    RunService,
)


@dataclass(frozen=True, slots=True)
class Services:
    """The services of the product."""

    flows: FlowService
    runs: RunService
    dashboard: DashboardService
    announcements: AnnouncementService


def _services(request: Request) -> Services:
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


The = Annotated[Services, Depends(_services)]
"""The services, as a parameter of a route: `async def list_flows(the: The)`."""
