"""TypeScript text: identifiers, literals, comments, indentation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import cast

RESERVED = frozenset(
    """
    any arguments as asserts async await bigint boolean break case catch class const continue
    debugger declare default delete do else enum eval export extends false finally for from function
    get if implements import in infer instanceof interface is keyof let module namespace never new
    null number object of package private protected public readonly require return set static string
    super switch symbol this throw true try type typeof undefined unique unknown var void while with
    yield
    """.split()  # noqa: SIM905  # reads better than 70 quoted words
)


def is_identifier(name: str) -> bool:
    """Return whether a name needs no quotes as a property key."""
    return name.replace("$", "_").isidentifier()


def identifier(name: str) -> str:
    """Return a valid variable name: `class` becomes `class_`."""
    return f"{name}_" if name in RESERVED else name


def camel_case(name: str) -> str:
    """`run_update` becomes `runUpdate`."""
    first, *others = [word for word in name.split("_") if word]
    return first + "".join(word[0].upper() + word[1:] for word in others)


def property_key(name: str) -> str:
    """Return a property's key, quoted if necessary."""
    return name if is_identifier(name) else literal(name)


def literal(value: object) -> str:
    """Return a JSON value as a TypeScript literal, which is also its type."""
    if isinstance(value, list | tuple):
        return f"readonly [{', '.join(map(literal, cast(Iterable[object], value)))}]"
    if isinstance(value, dict):
        members = cast(Mapping[str, object], value).items()
        return f"{{ {' '.join(f'readonly {property_key(k)}: {literal(v)};' for k, v in members)} }}"
    return json.dumps(value, ensure_ascii=False)


def jsdoc(lines: Iterable[str]) -> str:
    """Return a comment that ends with a line break, or an empty string without lines."""
    safe = [line.rstrip().replace("*/", "*\\/") for line in lines]
    if not safe:
        return ""
    if len(safe) == 1:
        return f"/** {safe[0]} */\n"
    return "\n".join(["/**", *(f" * {line}".rstrip() for line in safe), " */"]) + "\n"


def indented(text: str) -> str:
    """Indent every line by two spaces."""
    return "\n".join(f"  {line}" if line else line for line in text.split("\n"))
