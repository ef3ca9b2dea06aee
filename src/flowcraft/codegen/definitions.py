"""Definitions: the types of all channels together, for one generated file."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flowcraft.declarations import Declaration
from flowcraft.errors import DeclarationError
from flowcraft.events import JsonSchema


def joined_definitions(
    declarations: Iterable[Declaration], name_of: Callable[[str], str], file: str
) -> dict[str, JsonSchema]:
    """Return all types by their names in the file, in the order of the declarations.

    Raises:
        DeclarationError: two different types have one name.
    """
    found: dict[str, JsonSchema] = {}
    for declaration in declarations:
        for key, schema in declaration.payload.schema()["$defs"].items():
            name = name_of(key)
            if found.setdefault(name, schema) != schema:
                raise DeclarationError(
                    f"two different types are called {name}, one of them on {declaration.name}; rename "
                    f"one: both are in one {file}"
                )
    return found
