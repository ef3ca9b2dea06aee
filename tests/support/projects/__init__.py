"""Projects as people have them, for journeys from `init` to a changed row in the browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

WRITES_ITEMS = """\
import { useItemRows } from "./features/items/hooks/use-item-rows"

export function Items() {
  const { rows } = useItemRows()
  return (
    <>
      <p>{rows ? `${rows.length} rows` : "loading"}</p>
      <ul>
        {(rows ?? []).map((item) => (
          <li key={item.id}>{item.title}</li>
        ))}
      </ul>
    </>
  )
}
"""


@dataclass(frozen=True)
class Project:
    """A project before `init`, and what its people do with it.

    In texts, `<dsn>`, `<host>`, `<user>` and `<name>` are of the database.
    """

    made_by: tuple[str, ...]
    """The commands of its own tools, in its folder."""
    files: Mapping[str, str]
    app: str
    """What an ASGI server serves, from `root`."""
    tables: tuple[str, ...] = ()
    """The commands that make its tables, in `root`."""
    root: str = "."
    web: str | None = None
    """The folder of its React application; without one, `init` writes a page."""
    page: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is written to show the rows, from the project's folder."""
    edits: tuple[tuple[str, str, str], ...] = ()
    """A file, and a text in it that is replaced, before the service starts."""
    tests: str = "python -m pytest -q -p no:cacheprovider"
    tidy: tuple[str, ...] = ()
    """The commands of its formatter and linter, in `web`; all pass before `init`."""
    environment: Mapping[str, str] = field(default_factory=lambda: {"DATABASE_URL": "<dsn>"})
    own_origin: bool = False
    """Whether the page names the service's address, and has an origin of its own."""


def filled(text: str, words: Mapping[str, str]) -> str:
    """Return a text with its words replaced."""
    for word, value in words.items():
        text = text.replace(f"<{word}>", value)
    return text
