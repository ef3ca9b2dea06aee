"""The services, offered over HTTP."""

from examples.flowcraft.api.adapters.http.app import create_http
from examples.flowcraft.api.adapters.http.services import Services

__all__ = ["Services", "create_http"]
