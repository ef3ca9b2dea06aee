"""Generated TypeScript is compared by its meaning: a formatter's version of it is up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from flowcraft.codegen.typescript import generate_typescript
from flowcraft.codegen.typescript_meaning import difference
from flowcraft.entrypoints.cli import app
from tests.codegen.typescript_sample import channels

FOLDER = Path(__file__).parent / "golden"
GENERATED = generate_typescript(channels)
PRETTIER = (FOLDER / "prettier.ts.txt").read_text("utf-8")
"""Written by Prettier 3 with --no-semi --single-quote --tab-width 4 --print-width 60 --trailing-comma none
--arrow-parens avoid: nearly no line of it is a line of the generator."""


def test_what_prettier_has_made_of_it_is_up_to_date() -> None:
    lines = set(GENERATED.splitlines())
    assert sum(line in lines for line in PRETTIER.splitlines()) < len(lines) / 2
    assert difference(PRETTIER, GENERATED) is None


@pytest.mark.parametrize(
    ("present", "wanted"),
    [
        ("type A = {a: string; b: 1}", 'type A = {\n  "a": string;\n  b: 1;\n};'),
        ("type A =\n  | 'x'\n  | 'y'", 'type A = "x" | "y";'),
        ("const f = x => `${x}`", "const f = (x) => `${x}`;"),
        ("/** a\n     * b */\ntype A = 1", "/** a b */\ntype A = 1;"),
        ("// prettier-ignore\ntype A = 1", "/* eslint-disable */\ntype A = 1;"),
        ("const a = 'it\\'s \"x\"'", 'const a = "it\'s \\"x\\"";'),
        ("f(\n  a,\n  b,\n)", "f(a, b);"),
    ],
)
def test_formatting_is_no_difference(present: str, wanted: str) -> None:
    assert difference(present, wanted) is None


@pytest.mark.parametrize(
    ("present", "wanted", "line"),
    [
        ("type A = 1;\ntype B = 2;", "type A = 1;\ntype B = 3;", 2),
        ("type A = string;", "type A = number;", 1),
        ("type A = 'a b';", "type A = 'a  b';", 1),
        ("type A = 1;", "type A = 1;\ntype B = 1;", 1),
        ("type A = 1;\ntype B = 1;", "type A = 1;", 2),
        ("/** @format uuid */\ntype A = string;", "type A = string;", 1),
        ("type A = { a?: 1 };", "type A = { a: 1 };", 1),
        ("type A = [1, 2];", "type A = [2, 1];", 1),
        ("const a = `x.${y}`;", "const a = `y.${y}`;", 1),
        ("", "type A = 1;", 1),
    ],
)
def test_another_meaning_is_a_difference_with_its_line(present: str, wanted: str, line: int) -> None:
    found = difference(present, wanted)
    assert found is not None
    assert found[0] == line


def test_every_word_of_the_formatted_file_counts() -> None:
    words = list(re.finditer(r"(?<![\w@-])[A-Za-z_]\w+", PRETTIER))
    start = PRETTIER.index("export")
    assert len(words) > 200
    for word in words:
        if word.start() >= start:
            changed = f"{PRETTIER[: word.start()]}x_{PRETTIER[word.start() :]}"
            assert difference(changed, GENERATED) is not None, PRETTIER[word.start() - 40 : word.end()]


def test_codegen_keeps_what_a_formatter_wrote_until_the_channels_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "realtime.gen.ts"
    file.write_text(PRETTIER, "utf-8")
    command = ["codegen", "typescript", "tests.codegen.typescript_sample:channels", "--out", str(file)]
    assert CliRunner().invoke(app, [*command, "--check"]).exit_code == 0
    assert CliRunner().invoke(app, command).stdout == f"{file} is up to date\n"
    assert file.read_text("utf-8") == PRETTIER
    file.write_text(PRETTIER.replace("schemaHash = '", "schemaHash = '0"), "utf-8")
    assert CliRunner().invoke(app, [*command, "--check"]).exit_code == 1
    assert CliRunner().invoke(app, command).stdout == f"{file} written\n"
    assert file.read_text("utf-8") == GENERATED
