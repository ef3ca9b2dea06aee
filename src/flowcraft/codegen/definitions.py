"""Definitions: the types of all channels together, as a generated file wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flowcraft.channels import Declaration
from flowcraft.errors import DeclarationError
from flowcraft.events import JsonSchema


def joined_definitions(
    declarations: Iterable[Declaration], name_of: Callable[[str], str], file: str
) -> dict[str, JsonSchema]:
    """Return all types by the names they have in a file, in the order in which a reader meets them.

    Raises:
        DeclarationError: two different types of one name.
    """
    found: dict[str, JsonSchema] = {}
    for declaration in declarations:
        for key, schema in declaration.payload.schema()["$defs"].items():
            name = name_of(key)
            if found.setdefault(name, schema) != schema:
                raise DeclarationError(
                    f"two different types are called {name}, one of them on the channel {declaration.name}; "
                    f"rename one of them: they share one {file}"
                )
    return found
