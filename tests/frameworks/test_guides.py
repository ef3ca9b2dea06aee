"""The guides show what runs: each snippet is in an example, or in a test beside this one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.frameworks.test_alembic import REVISION

ROOT = Path(__file__).parents[2]
GUIDES = [ROOT / "docs/guides/frameworks.md", ROOT / "docs/guides/migrations.md"]
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets() -> list[tuple[str, str]]:
    return [(guide.name, text) for guide in GUIDES for text in SNIPPET.findall(guide.read_text("utf-8"))]


def sources() -> list[str]:
    files = [*(ROOT / "examples/frameworks").rglob("*.py"), *(ROOT / "tests/frameworks").glob("*.py")]
    return [flush(text) for text in [REVISION, *(file.read_text("utf-8") for file in files)]]


def flush(text: str) -> str:
    """A text without indentation, empty lines and kinds of quotes, which a snippet need not share."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip()).replace("'", '"')


@pytest.mark.parametrize(("guide", "snippet"), snippets())
def test_a_snippet_of_the_guides_is_taken_from_what_runs(guide: str, snippet: str) -> None:
    assert any(flush(snippet) in source for source in sources()), f"{guide}:\n{snippet}"
