"""The program behind `make test`: it ends what hangs, counts what broke, and closes with one line."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GREEN = '<testsuite tests="3" failures="0" errors="0" skipped="1"/>'
RED = '<testsuite tests="3" failures="1" errors="1" skipped="0"/>'
HANGS = "import sys, subprocess as s; s.run([sys.executable, '-c', 'import time; time.sleep(600)'])"


def run(folder: Path, steps: str, again: str = "", **suites: tuple[str, float]) -> tuple[int, list[str]]:
    """Run steps of suites, given as Python and a limit; return the exit status and the printed lines.

    `again` is the Python that runs what failed once more.
    """
    program = f"""
        import sys
        from pathlib import Path

        sys.path.insert(0, {str(ROOT)!r})
        from scripts import run_suites
        from scripts.run_suites import Suite

        run_suites.REPORTS = Path({str(folder)!r})
        run_suites.ENDING_SECONDS = 0.5
        given = {suites!r}
        again = (sys.executable, "-c", {again!r}, "{{report}}") if {again!r} else ()
        suites = {{
            name: Suite(
                (sys.executable, "-c", text, "{{report}}"), seconds, reports="check" not in name, again=again
            )
            for name, (text, seconds) in given.items()
        }}
        sys.exit(run_suites.main({steps.split()!r}, suites))
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def writes(report: str, status: int = 0) -> tuple[str, float]:
    return f"import sys, pathlib; pathlib.Path(sys.argv[1]).write_text({report!r}); sys.exit({status})", 30.0


def test_green_suites_are_added_up(tmp_path: Path) -> None:
    status, lines = run(tmp_path, "check+one other", check=("", 30), one=writes(GREEN), other=writes(GREEN))
    assert (status, lines[-1]) == (0, "4 passed, 0 failed, 2 skipped")


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (writes(RED, 1), "3 passed, 2 failed, 1 skipped"),
        (writes(GREEN, 3), "4 passed, 1 failed, 2 skipped"),
        (("", 30.0), "2 passed, 1 failed, 1 skipped"),
        (("raise SystemExit(2)", 30.0), "2 passed, 1 failed, 1 skipped"),
    ],
    ids=["a test failed", "red with a green report", "green without a report", "red without a report"],
)
def test_a_suite_that_broke_is_counted_and_nothing_follows(
    tmp_path: Path, broken: tuple[str, float], line: str
) -> None:
    status, lines = run(tmp_path, "one+broken later", one=writes(GREEN), broken=broken, later=writes(GREEN))
    assert (status, lines[-1]) == (1, line)
    assert not any("later" in text for text in lines)


def test_what_passes_alone_is_unstable_and_the_next_step_begins(tmp_path: Path) -> None:
    status, lines = run(
        tmp_path, "shaky later", again=writes(GREEN)[0], shaky=writes(RED, 1), later=writes(GREEN)
    )
    assert (status, lines[-1]) == (0, "5 passed, 0 failed, 1 skipped, 2 unstable")
    assert "== shaky: 2 failed; once more, alone" in lines


@pytest.mark.parametrize(
    ("report", "again"),
    [(RED, "raise SystemExit(1)"), (RED.replace("3", "9").replace("1", "4"), "")],
    ids=["it fails again", "more than a few fail"],
)
def test_what_fails_alone_or_is_more_than_a_few_has_failed(tmp_path: Path, report: str, again: str) -> None:
    status, lines = run(
        tmp_path, "shaky later", again=again or "pass", shaky=writes(report, 1), later=writes(GREEN)
    )
    assert status == 1
    assert lines[-1].split(", ")[1] in {"2 failed", "8 failed"}
    assert any("once more" in line for line in lines) == bool(again)


def test_what_failed_is_named_at_the_end(tmp_path: Path) -> None:
    cases = (
        '<testcase classname="faults" name="I1"/>',
        '<testcase classname="faults" name="I2"><failure message="I2 a=1">not so:\nlost</failure></testcase>',
        '<testcase classname="unit" name="t"><error message="no file">x</error></testcase>',
    )
    report = RED.replace("/>", f">{''.join(cases)}</testsuite>")
    found = ["faults I2: I2 a=1 not so: lost", "unit t: no file x"]
    _, lines = run(tmp_path, "green+broken", green=writes(GREEN), broken=writes(report, 1))
    assert lines[-3:-1] == [f"FAILED {line}" for line in found]
    _, lines = run(tmp_path, "shaky", again=writes(GREEN)[0], shaky=writes(report, 1))
    assert lines[-3:-1] == [f"UNSTABLE {line}" for line in found]


def test_a_gate_without_a_report_that_fails_is_counted(tmp_path: Path) -> None:
    status, lines = run(tmp_path, "check", check=("raise SystemExit(1)", 30))
    assert (status, lines[-1]) == (1, "0 passed, 1 failed, 0 skipped")


def test_a_suite_that_hangs_is_ended_with_what_it_started_and_named(tmp_path: Path) -> None:
    began = time.monotonic()
    status, lines = run(tmp_path, "stuck", stuck=(HANGS, 1.0))
    assert time.monotonic() - began < 20
    assert lines[0] == "== stuck: not over after 1 s; it is ended"
    assert (status, lines[-1]) == (1, "0 passed, 1 failed, 0 skipped")


def test_a_report_of_an_earlier_run_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "one.xml").write_text(GREEN)
    assert run(tmp_path, "one", one=("", 30))[0] == 1


def test_an_unknown_suite_is_refused(tmp_path: Path) -> None:
    assert run(tmp_path, "two", one=("", 30)) == (1, ["no suite is called two; there are one"])
