"""Statements: the SQL of this package, by the name of its file."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

SQL = files("flowcraft.adapters.postgres") / "sql"
DOES_NOT_FIT = "RT001"
"""The state with which `install.sql` says that a declaration does not fit the database."""
NOT_OURS = "RT003"
"""The state with which `guard.sql` refuses a schema flowcraft that is not only ours."""
REMOVED = "RT002"
"""The state with which `flowcraft.difference` says that some of what it was asked for has been removed."""
_INCLUDED = re.compile(r"^\\ir (\w+)\.sql$", re.MULTILINE)


@cache
def statement(name: str) -> str:
    """Return the text of `sql/<name>.sql`; a line `\\ir other.sql` in it stands for that file, as in psql."""
    text = (SQL / f"{name}.sql").read_text(encoding="utf-8")
    return _INCLUDED.sub(lambda included: statement(included[1]), text)


@cache
def migrations() -> dict[int, tuple[str, str]]:
    """Return the versioned changes of the schema: name and text by version, oldest first."""
    names = sorted(entry.name.removesuffix(".sql") for entry in SQL.iterdir() if entry.name[:4].isdigit())
    return {int(name[:4]): (name, statement(name)) for name in names}
