"""Refuse words that a reader with another first language, or another project, would stumble over.

It prints each place in the code, the docs and the README, and fails if there is one. Text in backticks,
code blocks of the docs and the names in `ALLOWED` are left alone. The name of a class stands for one thing
in the package, too: two classes with one name are refused.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACES = (
    "src",
    "faults",
    "packages/*/src/*",
    "docs",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "spec/*.md",
)
INSTEAD = {
    "tell tells told telling hear hears heard hearing": "send, receive, report, notify",
    "say says said saying": "log, return, name",
    "whoever nobody somebody": "the client, the server, no client",
    "anew": "again",
    "mend mends mended mending": "fix",
    "doorbell ring rings rang rung ringing": "wakeup, notify",
    "emit emits emitted emitting": "broadcast",
    "doorstep lookout mailbox reception surroundings doorkeeper tailing doctoring": "the field's noun",
}
ALLOWED = {
    # The user that PostgreSQL runs as where we are root, and an HTTP header's spelling.
    "src/flowcraft/adapters/postgres/embedded/identity.py": {"nobody"},
    # The functions of development versions, in databases that are taken over.
    "src/flowcraft/adapters/postgres/sql/0004_plain_names.sql": {"emit", "ring"},
    "src/flowcraft/adapters/postgres/sql/old_triggers.sql": {"ring"},
    "src/flowcraft/adapters/postgres/sql/verify.sql": {"emit", "ring"},
}
_WORDS = {word: instead for words, instead in INSTEAD.items() for word in words.split()}
# Letters end a word, underscores do not: names count too.
_WORD = re.compile(rf"(?<![A-Za-z])({'|'.join(_WORDS)})(?![A-Za-z])", re.IGNORECASE)
_QUOTED = re.compile(r"`[^`\n]+`")
_FENCE = re.compile(r"^ *(```|~~~)")


def files() -> Iterator[str]:
    """Yield the text files that are, or could be, committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *PLACES]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file() and Path(name).suffix not in {".json", ".svg", ".png", ".woff2"}:
            yield name


def found(name: str, text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the word of each place in a file."""
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if name.endswith(".md") and _FENCE.match(line):
            fenced = not fenced
        if not fenced:
            for match in _WORD.finditer(_QUOTED.sub("", line)):
                if match[1].lower() not in ALLOWED.get(name, ()):
                    yield number, match[1]


def shared_class_names() -> Iterator[str]:
    """Yield where each class stands whose name another class of the package has."""
    classes: dict[str, list[str]] = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                classes.setdefault(node.name, []).append(place)
    for name, places in classes.items():
        if len(places) > 1:
            yield f"{', '.join(places)}: each has a class {name}: name the others after what is special"


def main(arguments: list[str]) -> int:
    places = 0
    for line in () if arguments else shared_class_names():
        print(line)
        places += 1
    for name in files():
        if arguments and not name.startswith(tuple(arguments)):
            continue
        for number, word in found(name, (ROOT / name).read_text(errors="replace")):
            print(f"{name}:{number}: {word!r}: write {_WORDS[word.lower()]}")
            places += 1
    if places:
        print(f"{places} words or names to replace; see the style guide's first section", file=sys.stderr)
    return 1 if places else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
