"""Write docs/checks.md: the table of what `flowcraft check` checks. A test compares it."""

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

The command reads the service's sources, the web folder and the database, changes nothing, and reports each
finding with the file, the line and the next step. `--json` writes one object;
`--github` writes annotations for a workflow. The exit status is 0 if nothing was found, 1 if something was,
2 if the command could not be parsed.

Errors and warnings both count as findings. If a warning describes what you intend, `--ignore FC022` leaves
that check out.

- The channels are the one `name = Channels()` below the current folder, or the MODULE:ATTRIBUTE that you
  pass; their module is imported. All other Python is read as a syntax tree. Tests are not read.
- The web folder is the one whose `package.json` has `@flowcraft/realtime`, or `--web`. The parser
  of its own `typescript` package reads it, under Node; nothing is compiled or run.
- The database is `--dsn`, that of the Realtime object, `FLOWCRAFT_DSN` or `DATABASE_URL`. Without one its
  checks are left out, and the last lines report that.

## The service
{service}
## The pages
{web}
ESLint checks whether an effect ends its subscription, while you type: the rule
`no-lost-unsubscribe` of `@flowcraft/realtime/eslint`. The rule recognises `unsubscribe` by its type, also
through variables, `useCallback`, functions and objects of any file. Give a function of your own that ends a
subscription among other things this type, `start: () => Unsubscribe`: then the rule also finds an effect that
drops what `auditor.start()` returns. The rule needs
[typed linting](https://typescript-eslint.io/getting-started/typed-linting/):

<!-- snippet: skip elsewhere packages/realtime/tests/eslint.test.ts -->
```js title="eslint.config.js"
import {{ recommended as realtime }} from "@flowcraft/realtime/eslint";
import hooks from "eslint-plugin-react-hooks";
import {{ defineConfig }} from "eslint/config";
import ts from "typescript-eslint";

export default defineConfig({{
  files: ["src/**/*.{{ts,tsx}}"],
  ignores: ["**/*.test.*"],
  extends: [ts.configs.recommendedTypeChecked, hooks.configs.flat.recommended, realtime],
  languageOptions: {{ parserOptions: {{ projectService: true }} }},
  rules: {{ "react-hooks/exhaustive-deps": ["error", {{ requireExplicitEffectDeps: true }}] }},
}});
```

The other rules find mistakes that are not specific to realtime: an async effect and one without a list of
dependencies (`react-hooks/exhaustive-deps`), and a payload taken as `any`
(`@typescript-eslint/no-explicit-any`).

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
