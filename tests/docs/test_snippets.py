"""Every snippet of the docs and of the READMEs is run, by its kind; a new one too, if nothing else is said.

A page has a folder, a PostgreSQL database with the log in it (DATABASE_URL), and one Python namespace; its
blocks are done in their order.

    python              is run; `await` may stand outside of functions
    sql                 is executed, on a connection of its own
    sh, bash            is run by bash: flowcraft, python, curl, psql …; any command that fails is an error
    console             lines after `$ ` are run, and say what stands below them; `…` stands for anything
    ts, tsx             is compiled, strict, with the types of the channels that the page declares, that its
                        `flowcraft codegen typescript` has written, or else of tests/docs/sample.py
    js                  is looked at by Node, and not run
    json, yaml, toml    is parsed
    text                is not looked at: output, diagrams

`flowcraft serve` and `uvicorn` go on in the background, on a free port; `localhost:8400`, or what `--port`
says, is then theirs. `postgresql://localhost/…` is the page's database.

A block with `title="app.py"` is also put into that file, at the end if it is there. Python from a file is
imported, so that `flowcraft migrate app:realtime` finds it; a file called test_… is run by pytest.

A comment on the line above a block, which readers do not see, says what is special about it:

    <!-- snippet: skip REASON -->       it is not run; see REASONS in following.py for those that count
    <!-- snippet: file app.py -->       like `title`, where no title should be seen (the README)
    <!-- snippet: fails "a text" -->    it fails, and says this
    <!-- snippet: until "a text" -->    it is interrupted once it has said this
    <!-- snippet: before                code that goes before it: names that the page does not explain; in
    declare const api: …                TypeScript in the same file
    -->
    <!-- snippet: sql                   a whole block of any kind that readers do not see
    create table runs …
    -->

`<!-- snippets: followed by tests/…/test_x.py -->` anywhere says that a test of its own follows the page.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.blocks import Unreadable, followed_by, of_file
from tests.docs.following import ReferenceClient
from tests.docs.processes import ROOT, SnippetFailed

BESIDE = ("README.md", "examples/flowcraft/README.md", "packages/realtime/README.md")
PAGES = sorted([*(ROOT / name for name in BESIDE), *(ROOT / "docs").rglob("*.md")])


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_page_says_of_which_kind_its_snippets_are(page: Path) -> None:
    try:
        of_file(page)
    except Unreadable as error:
        pytest.fail(f"{name_of(page)}, {error}", pytrace=False)


@pytest.mark.parametrize("page", [page for page in PAGES if "```" in page.read_text("utf-8")], ids=name_of)
def test_every_snippet_does_what_the_page_says(page: Path, follower: ReferenceClient) -> None:
    line = 0
    try:
        for block in of_file(page):
            line = block.line
            follower.follow(block)
        follower.finish()
    except SnippetFailed as failed:
        pytest.fail(f"{name_of(page)}:{line}: {failed}", pytrace=False)


def test_a_page_that_a_test_of_its_own_follows_is_named_in_that_test() -> None:
    for page in PAGES:
        if test := followed_by(page.read_text("utf-8")):
            assert name_of(page) in (ROOT / test).read_text("utf-8"), f"{test} does not name {name_of(page)}"
