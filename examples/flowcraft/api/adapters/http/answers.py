"""Answers: the domain's own types as JSON, in the same encoding as the events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
from fastapi import FastAPI, Response

Documentation: TypeAlias = dict[int | str, dict[str, Any]]
_REFERENCE = "#/components/schemas/{name}"
_definitions: dict[str, Any] = {}


class Json(Response):
    """A JSON response. State is never cached: it belongs to its cursor."""

    media_type = "application/json"

    def __init__(
        self, content: object, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(content, status_code, {"cache-control": "no-store", **(headers or {})})

    def render(self, content: object) -> bytes:
        """Encode the answer."""
        return msgspec.json.encode(content)


def answers(kind: Any, status: int = 200) -> Documentation:  # noqa: ANN401  # any type that msgspec knows
    """Describe an answer in the OpenAPI document."""
    (schema,), definitions = msgspec.json.schema_components([kind], ref_template=_REFERENCE)
    _definitions.update(definitions)
    return {status: {"content": {"application/json": {"schema": schema}}}}


class Documented(FastAPI):
    """An application whose OpenAPI document has the types of its answers, which are not Pydantic's."""

    def openapi(self) -> dict[str, Any]:
        """Return the document."""
        document = super().openapi()
        document["components"]["schemas"].update(_definitions)
        return document


def refusal(code: str, message: str, status: int) -> Json:
    """Answer an error with what happened and what to do, for people, and a code, for programs."""
    return Json({"error": {"code": code, "message": message}}, status)
