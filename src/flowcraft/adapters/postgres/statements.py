"""Statements: the SQL of this package, by the name of its file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from flowcraft.errors import DeclarationError, SchemaDiffers, SchemaNotOwned

if TYPE_CHECKING:
    import asyncpg

SQL = files("flowcraft.adapters.postgres") / "sql"
DOES_NOT_FIT = "RT001"
"""The state with which `install.sql` refuses a declaration that does not fit the database."""
REMOVED = "RT002"
"""The state with which `flowcraft.difference` reports that events which it should return are removed."""
NOT_OURS = "RT003"
"""The state with which `guard.sql` refuses a schema flowcraft in which other roles can have left code."""
DIFFERS = "RT004"
"""The state with which `verify.sql` refuses a log that the migrations of this version did not make."""

# 0x666c6f77, "flow": the class of our advisory locks; 1 leader, 2 readers, 3 migrate, 4 rotate, 5 first
_LOCKS = {
    "lock_class": 0x666C6F77,
    "leader_lock": 1,
    "readers_lock": 2,
    "migrate_lock": 3,
    "rotate_lock": 4,
    "first_lock": 5,
}
ROTATE_LOCK = _LOCKS["rotate_lock"]
_INCLUDED = re.compile(r"^\\ir (\w+)\.sql$", re.MULTILINE)
_DETAILS = re.compile(r"\n(?:DETAIL|HINT|CONTEXT):.*", re.DOTALL)  # what psycopg puts after a message
_VARIABLE = re.compile(rf"(?<![:\w]):({'|'.join(_LOCKS)})\b")


@dataclass(frozen=True, slots=True)
class Migration:
    """A versioned change of the schema. `hash` is the SHA-256 of its text; the database stores it."""

    version: int
    name: str
    text: str
    hash: str


@cache
def statement(name: str) -> str:
    r"""Return the text of `sql/<name>.sql`.

    As in psql, a line `\ir other.sql` stands for that file, and `:lock_class` for the value of a variable.
    """
    text = (SQL / f"{name}.sql").read_text(encoding="utf-8")
    text = _INCLUDED.sub(lambda included: statement(included[1]), text)
    return _VARIABLE.sub(lambda variable: str(_LOCKS[variable[1]]), text)


@cache
def migrations() -> dict[int, Migration]:
    """Return the versioned changes of the schema by version, oldest first."""
    names = sorted(entry.name.removesuffix(".sql") for entry in SQL.iterdir() if entry.name[:4].isdigit())
    texts = {name: statement(name) for name in names}
    return {
        int(name[:4]): Migration(int(name[:4]), name, text, hashlib.sha256(text.encode()).hexdigest())
        for name, text in texts.items()
    }


def differences_of(applied: Iterable[asyncpg.Record]) -> tuple[str, ...]:
    """Return a sentence for each applied migration (version, name, hash) that this version has otherwise."""
    known = migrations()
    return tuple(
        f"{row['name']} has the hash {row['hash'][:12]}, not {known[row['version']].hash[:12]}"
        for row in applied
        if row["version"] in known and row["hash"] not in (None, known[row["version"]].hash)
    )


def refusal(state: str | None, message: str) -> DeclarationError | SchemaNotOwned | SchemaDiffers | None:
    """Return the error for an SQL state of ours, None for every other state."""
    kinds: dict[str | None, type[DeclarationError | SchemaNotOwned | SchemaDiffers]] = {
        DOES_NOT_FIT: DeclarationError,
        NOT_OURS: SchemaNotOwned,
        DIFFERS: SchemaDiffers,
    }
    return kinds[state](_DETAILS.sub("", message)) if state in kinds else None
