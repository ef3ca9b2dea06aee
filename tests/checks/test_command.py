"""The command: what it finds by itself, how it reports, and how it is used wrongly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowcraft.checking.rules import RULES
from scripts.checks_page import PAGE, page
from tests.checks.project import API, TARGET, WEB, Project
from tests.checks.test_database_faults import FAULTS
from tests.checks.test_planted_faults import PAGES, SERVICE

MODULE = TARGET.partition(":")[0]
CHANNELS = f"{API}/core/domain/channels.py"
SENTENCE = (
    "system has no source and no broadcast; declare it with source=Table(...), "
    "or call realtime.broadcast(...) in a service"
)


@pytest.fixture
def faulty(service: Project) -> Project:
    service.write(
        CHANNELS, service.read(CHANNELS) + '\n\nsystem = channels.declare("system", Announcement)\n'
    )
    return service


def test_a_finding_is_a_line_with_file_line_and_column(faulty: Project) -> None:
    result = faulty.check()
    place = f"{CHANNELS}:{faulty.line_of(f'{CHANNELS}', 'system = ')}:10"
    assert result.stdout.splitlines() == [
        f"{place}: warning FC006: {SENTENCE}",
        "not checked: TypeScript: no package.json here depends on @flowcraft/realtime; see --web",
        "not checked: the database: no address is configured; use --dsn, or set DATABASE_URL",
        "1 warning in 6 checks; `flowcraft check --list` lists all checks",
    ]
    assert (result.exit_code, result.stderr) == (1, "")


def test_a_finding_is_an_object_of_json(faulty: Project) -> None:
    document = json.loads(faulty.check("--json").stdout)
    assert document["checked"] == 6
    assert len(document["skipped"]) == 2
    assert document["findings"] == [
        {
            "id": "FC006",
            "severity": "warning",
            "title": "Every channel has a source, or a service that broadcasts it",
            "file": CHANNELS,
            "line": faulty.line_of(CHANNELS, "system = "),
            "column": 10,
            "message": SENTENCE,
        }
    ]


def test_a_finding_is_an_annotation_of_a_workflow(faulty: Project) -> None:
    result = faulty.check("--github")
    line = faulty.line_of(CHANNELS, "system = ")
    title = "title=FC006 Every channel has a source%2C or a service that broadcasts it"
    annotation = f"::warning file={CHANNELS},line={line},col=10,{title}::{SENTENCE}"
    assert result.stdout.splitlines()[0] == annotation
    assert result.exit_code == 1


def test_a_check_that_is_ignored_is_not_made(faulty: Project) -> None:
    result = faulty.check("--ignore", "FC006")
    assert result.stdout.splitlines()[-1] == "no problems found in 5 checks"
    assert result.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--json", "--github"], "--json and --github are two formats of one report; choose one"),
        (["--ignore", "FC999"], "there is no check FC999; see `flowcraft check --list`"),
        (["--web", "nowhere"], "there is no folder nowhere; name the web folder with --web DIR"),
        (["nonsense"], "'nonsense' is not of the form MODULE:ATTRIBUTE, such as nonsense:channels"),
        (
            [f"{MODULE}:Table"],
            f"{MODULE}:Table is of type type, not Channels or Realtime; the module has {MODULE}:channels",
        ),
    ],
)
def test_wrong_usage_ends_with_status_2(service: Project, arguments: list[str], text: str) -> None:
    result = service.check(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"error: {text}\n")


def test_channels_that_are_not_there_or_are_several_must_be_named(here: Path) -> None:
    nothing = Project(here).check()
    assert (nothing.exit_code, "name it, such as app.realtime:channels" in nothing.stderr) == (2, True)
    for name in ("one", "two"):
        (here / f"{name}.py").write_text("from flowcraft import Channels\nmine = Channels()\n")
    several = Project(here).check()
    text = "error: found several objects; name one: one:mine | two:mine\n"
    assert (several.exit_code, several.stderr) == (2, text)


def test_several_web_folders_must_be_chosen_from(service: Project) -> None:
    for name in ("app", "admin"):
        (service.folder / name).mkdir()
        service.write(f"{name}/package.json", '{"dependencies": {"@flowcraft/realtime": "1"}}')
    result = service.check()
    assert (result.exit_code, result.stderr) == (
        2,
        "error: found several web folders; name one: --web admin | app\n",
    )


def test_typescript_that_is_not_installed_is_a_finding(project: Project) -> None:
    (project.folder / "node_modules").unlink()
    (found,) = project.findings("--ignore", "FC022")
    assert (found["id"], found["file"]) == ("FC010", f"{WEB}/package.json")
    assert "the package typescript is not installed there; run `npm install`" in found["message"]


def test_pages_in_javascript_are_not_read(project: Project) -> None:
    (project.folder / "node_modules").unlink()
    project.write(f"{WEB}/src/main.jsx", "export {};\n")
    result = project.check(TARGET)
    assert result.exit_code == 0, result.output
    assert f"the pages in {WEB}: JavaScript; to read them, install typescript there" in result.output


def test_a_missing_node_is_a_finding(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project.folder))
    (found,) = project.findings()
    assert (found["id"], found["file"]) == ("FC010", f"{WEB}/package.json")
    assert "node is not on the PATH; install Node 20 or later" in found["message"]


def test_every_check_is_listed_once(service: Project) -> None:
    lines = service.check("--list").stdout.splitlines()
    assert [line[:5] for line in lines] == [rule.id for rule in RULES] == sorted({rule.id for rule in RULES})


def test_every_check_has_a_fault_that_it_finds() -> None:
    planted = {fault.check for fault in (*SERVICE.values(), *PAGES.values())}
    planted |= {check for fault in FAULTS.values() for check in fault.checks}
    by_hand = {
        "FC010",
        "FC041",
        "FC050",
        "FC051",
        "FC052",
        "FC053",
        "FC065",
        "FC066",
        "FC067",
        "FC073",
        "FC074",
        "FC075",
        "FC076",
    }
    assert sorted(planted | by_hand) == [rule.id for rule in RULES]


def test_the_page_of_the_docs_has_all_checks() -> None:
    assert PAGE.read_text("utf-8") == page(), "run: python scripts/checks_page.py"
