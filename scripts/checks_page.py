"""Write docs/checks.md: the table of what `flowcraft check` looks at. A test compares it."""

from __future__ import annotations

from pathlib import Path

from flowcraft.checking.reports import as_markdown
from flowcraft.checking.rules import DATABASE, SERVICE, WEB

PAGE = Path(__file__).parents[1] / "docs/checks.md"
TEXT = """\
# What `flowcraft check` checks

<!-- snippet: skip elsewhere tests/checks/test_command.py -->
```sh
flowcraft check app.realtime:channels --web web --dsn postgresql://localhost/app
```

It reads the service's sources, the web folder and the database, changes nothing, and writes a sentence for
each thing that does not hold, with the file, the line and what to do next. `--json` writes one object;
`--github` writes annotations for a workflow. The exit status is 0 if nothing was found, 1 if something was,
2 if the command was not understood.

A finding counts, be it an error or a warning. A warning may be meant so: `--ignore FC022` leaves that check
out.

- The channels are the one `name = Channels()` below the current folder, or the MODULE:ATTRIBUTE that is
  given; their module is imported. All other Python is read as a syntax tree. Tests are not read.
- The web folder is the one whose `package.json` has `@flowcraft/realtime`, or `--web`. It is read by the
  parser of its own `typescript` package, under Node; nothing is compiled or run.
- The database is `--dsn`, that of the Realtime object, `FLOWCRAFT_DSN` or `DATABASE_URL`. Without one its
  checks are left out, and the last lines say so.

## The service
{service}
## The pages
{web}
FC030 to FC035 follow `unsubscribe` through variables, `useCallback`, functions and objects, also of other
files of the web folder: an effect that drops what `auditor.start()` returns is found if `start` subscribes.

## The database
{database}
The triggers are compared by the functions that install them, in a transaction that is rolled back.

<!-- Written by scripts/checks_page.py from src/flowcraft/checking/rules. -->
"""


def page() -> str:
    """Return the page."""
    return TEXT.format(service=as_markdown(SERVICE), web=as_markdown(WEB), database=as_markdown(DATABASE))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
