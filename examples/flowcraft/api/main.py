"""Composition: the services of the product, with the adapters they run on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.types import ASGIApp

from examples.flowcraft.api.adapters.http import Services, create_http
from examples.flowcraft.api.adapters.postgres import (
    Database,
    PostgresAnnouncements,
    PostgresDashboard,
    PostgresFlows,
    PostgresRuns,
)
from examples.flowcraft.api.adapters.visitors import VisitorAuthorizer
from examples.flowcraft.api.core.domain.channels import channels
from examples.flowcraft.api.core.ports import RealtimeService
from examples.flowcraft.api.core.services import (
    AnnouncementService,
    DashboardService,
    FlowService,
    RunService,
)
from flowcraft import Realtime, Settings

WEB = Path(__file__).parents[1] / "web" / "dist"


def create_app(dsn: str, *, settings: Settings | None = None, web: Path = WEB) -> ASGIApp:
    """Compose the API: routes, realtime at `/realtime`, and the web app, in one ASGI application."""
    realtime = Realtime(channels, dsn=dsn, authorizer=VisitorAuthorizer(), settings=settings or Settings())
    database = Database(dsn)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with database:
            yield

    return realtime.asgi(create_http(services(realtime.service, database), web, lifespan))


def services(realtime: RealtimeService, database: Database) -> Services:
    """Give each service its ports."""
    return Services(
        flows=FlowService(PostgresFlows(database)),
        runs=RunService(realtime, PostgresRuns(database)),
        dashboard=DashboardService(PostgresDashboard(database)),
        announcements=AnnouncementService(PostgresAnnouncements(database)),
    )
