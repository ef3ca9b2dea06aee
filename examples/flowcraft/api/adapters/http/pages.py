"""The built web app: its files, and its index for every path that the page routes by itself."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse

from examples.flowcraft.api.adapters.http.answers import refusal


def pages(built: Path) -> APIRouter:
    """Serve a directory that a bundler wrote. Include it last: it answers whatever nothing else does."""
    router = APIRouter(include_in_schema=False)
    root = built.resolve()

    async def page(path: str) -> Response:
        if path == "api" or path.startswith("api/"):
            return refusal("not_found", f"there is no /{path[:200]}; /docs lists what there is", 404)
        file = (root / path).resolve()
        if path and file.is_relative_to(root) and file.is_file():
            return FileResponse(file, headers={"cache-control": _freshness(path)})
        if not (root / "index.html").is_file():
            return refusal(
                "not_found",
                "the web app is not built; run `make demo`, or `npm run build` in its directory",
                404,
            )
        return FileResponse(root / "index.html", headers={"cache-control": "no-cache"})

    router.add_api_route("/{path:path}", page, methods=["GET", "HEAD"])
    return router


def _freshness(path: str) -> str:
    # The names of bundled files change with their content.
    return "public, max-age=31536000, immutable" if path.startswith("assets/") else "no-cache"
