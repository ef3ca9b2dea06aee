"""Text of Python is changed where it must be, and nowhere else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from flowcraft.scaffolding.edits import Edit, ScaffoldingRefused, apply
from flowcraft.scaffolding.naming import names_of
from flowcraft.scaffolding.python_text import (
    realtime_attribute,
    with_class,
    with_declaration,
    with_import,
    with_method,
)

MODULE = '''\
"""Channels."""

from __future__ import annotations

from typing import Literal  # of ours

from app.events import (
    Alpha,
    Omega,
)
from flowcraft import Channels

channels = Channels()

# The first.
alpha = channels.declare("alpha_update", Alpha)


@alpha.guard
def may_see(viewer: object) -> bool:
    return True
'''


def test_a_name_joins_the_statement_that_imports_from_its_module() -> None:
    assert with_import(MODULE, "app.events", "Beta") == MODULE.replace(
        "    Omega,\n", "    Beta,\n    Omega,\n"
    )
    assert with_import(MODULE, "flowcraft", "Table") == MODULE.replace(
        "import Channels\n", "import Channels, Table\n"
    )
    assert with_import(MODULE, "app.events", "Alpha") == MODULE


def test_a_new_module_is_imported_in_its_section() -> None:
    assert with_import(MODULE, "uuid", "UUID") == MODULE.replace(
        "# of ours\n", "# of ours\nfrom uuid import UUID\n"
    )
    assert with_import(MODULE, "datetime", "date") == MODULE.replace(
        "from typing", "from datetime import date\nfrom typing"
    )
    assert with_import('"""Doc."""\n', "uuid", "UUID") == '"""Doc."""\n\nfrom uuid import UUID\n'


def test_a_statement_with_a_comment_is_left_alone() -> None:
    changed = with_import(MODULE, "typing", "Annotated")
    assert "from typing import Literal  # of ours\n" in changed
    assert "from typing import Annotated\n" in changed


def test_a_name_that_means_something_else_is_refused() -> None:
    with pytest.raises(ScaffoldingRefused, match="alpha is already bound to something else"):
        with_import(MODULE, "app.x", "alpha")


def test_a_declaration_follows_the_last_one_and_stays_before_what_follows() -> None:
    statement = 'beta = channels.declare("beta_update", Beta)'
    assert with_declaration(MODULE, "channels", statement) == MODULE.replace(
        "Alpha)\n\n\n@", f"Alpha)\n\n{statement}\n\n\n@"
    )


def test_a_class_and_a_method_come_last() -> None:
    service = (
        "class S:\n    def __init__(self, it: RealtimeService) -> None:\n        self._it = it\n\n\nx = 1\n"
    )
    assert with_class("x = 1\n", "class A:\n    pass\n") == "x = 1\n\n\nclass A:\n    pass\n"
    assert with_class("x = 1\n\n# Y.\ny = 2\n", "class A:\n    pass\n", before="y") == (
        "x = 1\n\n\nclass A:\n    pass\n\n\n# Y.\ny = 2\n"
    )
    assert with_method(service, "S", "    def m(self) -> None: ...") == service.replace(
        "= it\n", "= it\n\n    def m(self) -> None: ...\n"
    )
    assert realtime_attribute(ast.parse(service), "S") == "_it"


@pytest.mark.parametrize(
    ("channel", "names"),
    [
        ("flow_update", ("flow", None, "flow_update", "flow-update", "flowUpdate")),
        ("runs.{run_id}", ("runs", "run_id", "run", "runs", "runs")),
        ("log_lines.{id}", ("log_lines", "id", "log_line", "log-lines", "logLines")),
        ("system", ("system", None, "system", "system", "system")),
    ],
)
def test_names_follow_from_the_channel(channel: str, names: tuple[str | None, ...]) -> None:
    found = names_of(channel)
    assert (found.entity, found.parameter, found.variable, found.words, found.builder) == names


def test_edits_are_applied_all_or_none(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    (tmp_path / "file").write_text("")
    blocked = tmp_path / "file" / "below"
    edits = [Edit("", one, "1", "2"), Edit("", other, None, "new"), Edit("", blocked, None, "x")]
    with pytest.raises(ScaffoldingRefused):
        apply(edits)
    assert (one.read_text(), other.exists()) == ("1", False)
    with pytest.raises(ScaffoldingRefused, match="has changed meanwhile"):
        apply([Edit("", other, None, "new"), Edit("", one, "0", "2")])
    assert not other.exists()
    apply(edits[:2])
    assert (one.read_text(), other.read_text()) == ("2", "new")
