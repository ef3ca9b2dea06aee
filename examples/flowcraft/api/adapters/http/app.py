"""The HTTP application: routes, and errors as sentences."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.types import Lifespan

from examples.flowcraft.api.adapters.http import flows, runs, system
from examples.flowcraft.api.adapters.http.answers import Documented, Json, refusal
from examples.flowcraft.api.adapters.http.pages import pages
from examples.flowcraft.api.adapters.http.services import Services
from examples.flowcraft.api.core.domain.errors import FlowNotFound, Refused, RunNotFound


def create_http(services: Services, built: Path, lifespan: Lifespan[FastAPI] | None = None) -> FastAPI:
    """Offer the services, and the web app that was built into a directory."""
    app = Documented(title="FlowCraft", lifespan=lifespan, redoc_url=None)
    app.state.services = services
    for module in (flows, runs, system):
        app.include_router(module.router)
    app.include_router(pages(built))
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _bad_request)
    return app


async def _refused(_request: Request, error: Exception) -> Json:
    assert isinstance(error, Refused)
    missing = isinstance(error, FlowNotFound | RunNotFound)
    return refusal(error.code, str(error), 404 if missing else 409)


async def _bad_request(_request: Request, error: Exception) -> Json:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"])
    return refusal("bad_request", f"{where}: {first['msg']}", 422)
