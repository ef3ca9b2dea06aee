"""What is published installs by name from indexes on this machine, and the quick start goes on from there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.artefacts import Artefacts, clean_environment, run
from tests.support.local_indexes import npm_registry, python_index

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]
QUIET = ("--no-audit", "--no-fund", "--silent")


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Artefacts:
    return Artefacts.build(tmp_path_factory.mktemp("dist"))


def configured(*command: str) -> str:
    """What a tool's own settings say."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=clean_environment(), cwd="/"
    )
    return done.stdout.strip()


def test_the_quick_start_from_a_python_index(artefacts: Artefacts, tmp_path: Path) -> None:
    run([sys.executable, "-m", "venv", "venv"], cwd=tmp_path)
    programs = tmp_path / "venv/bin"
    with python_index(artefacts, tmp_path / "index") as index:
        program = str(programs / "pip")
        pip = [program, "install", "--quiet", "--no-compile", "--extra-index-url", index]
        run([*pip, "flowcraft-realtime"], cwd=tmp_path)
        where = run([programs / "python", "-c", "import flowcraft; print(flowcraft.__file__)"], cwd=tmp_path)
        assert where.stdout.startswith(str(tmp_path / "venv"))
        printed = run([programs / "flowcraft", "init", "hello", "--react"], cwd=tmp_path).stdout
        steps = printed.partition("Next:\n")[2].split("\n")
        assert [step.strip() for step in steps[:2]] == ["cd hello", "pip install -e '.[dev]'"]
        run([*pip, "-e", ".[dev]"], cwd=tmp_path / "hello")
    path = f"{programs}:{clean_environment()['PATH']}"
    run([programs / "python", "-m", "pytest", "-q"], cwd=tmp_path / "hello", PATH=path)
    web = tmp_path / "hello/web"
    run(["npm", "install", *QUIET], cwd=web)
    run(["npm", "run", "build"], cwd=web)
    assert (web / "dist/index.html").exists()
    checked = run([programs / "flowcraft", "check"], cwd=tmp_path / "hello", PATH=path)
    assert "no problems found" in checked.stdout


def test_the_client_from_an_npm_registry(artefacts: Artefacts, tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{ "name": "page", "private": true, "type": "module" }')
    usual = configured("npm", "config", "get", "registry")
    with npm_registry(artefacts, usual) as registry:
        run(
            ["npm", "install", *QUIET, "--registry", registry, "@flowcraft/realtime", "react@19"],
            cwd=tmp_path,
        )
    script = (
        'const { createClient } = await import("@flowcraft/realtime");'
        'const { useRows } = await import("@flowcraft/realtime/rows");'
        "console.log(typeof createClient, typeof useRows);"
    )
    assert run(["node", "--input-type=module", "-e", script], cwd=tmp_path).stdout == "function function\n"
