"""What is published: complete, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import yaml
from packaging.metadata import Metadata

import flowcraft
from tests.support.artefacts import ROOT, Artefacts, members, run

LARGEST = 140_000
"""Bytes of the largest file that has a reason to be in an artefact."""
SOURCES = ROOT / "src/flowcraft"


def in_wheel(artefacts: Artefacts) -> dict[str, bytes]:
    with zipfile.ZipFile(artefacts.wheel) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


def sources_of_today() -> set[str]:
    files = (file.relative_to(SOURCES.parent) for file in SOURCES.rglob("*") if file.is_file())
    return {file.as_posix() for file in files if not {"__pycache__", "_npm"} & set(file.parts)}


def test_the_wheel_has_every_source_and_datum_the_client_and_nothing_else(artefacts: Artefacts) -> None:
    files = in_wheel(artefacts)
    about = f"flowcraft_realtime-{flowcraft.__version__}.dist-info"
    client = f"flowcraft/_npm/flowcraft-realtime-{flowcraft.__version__}.tgz"
    assert {name for name in files if not name.startswith(about)} == sources_of_today() | {client}
    assert files[client] == artefacts.tarball.read_bytes()
    assert files[f"{about}/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()


def test_server_and_client_have_one_version(artefacts: Artefacts) -> None:
    client = json.loads(members(artefacts.tarball)["package.json"])["version"]
    server = message_from_bytes(members(artefacts.source_archive)["PKG-INFO"])["Version"]
    assert client == server == flowcraft.__version__
    assert all(client in path.name for path in artefacts.folder.iterdir())


def test_the_metadata_is_what_an_index_takes(artefacts: Artefacts) -> None:
    (raw,) = [text for name, text in in_wheel(artefacts).items() if name.endswith("/METADATA")]
    metadata = Metadata.from_email(raw, validate=True)
    assert metadata.name == "flowcraft-realtime"
    assert metadata.description is not None
    assert metadata.description.startswith("# FlowCraft Realtime")
    assert metadata.description_content_type == "text/markdown"
    assert raw == members(artefacts.source_archive)["PKG-INFO"]


def test_the_source_archive_builds_the_same_wheel(artefacts: Artefacts, tmp_path: Path) -> None:
    for name, content in members(artefacts.source_archive).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "again"], cwd=tmp_path)
    (again,) = (tmp_path / "again").iterdir()
    assert (again.name, again.read_bytes()) == (artefacts.wheel.name, artefacts.wheel.read_bytes())


def test_the_source_archive_builds_a_pure_wheel_where_that_is_asked(
    artefacts: Artefacts, tmp_path: Path
) -> None:
    for name, content in members(artefacts.source_archive).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", "pure"]
    run(build, cwd=tmp_path, FLOWCRAFT_PURE="1")
    (pure,) = (tmp_path / "pure").iterdir()
    assert pure.name == f"flowcraft_realtime-{flowcraft.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(pure) as wheel, zipfile.ZipFile(artefacts.wheel) as compiled:
        less = {name for name in compiled.namelist() if name.endswith(".so")}
        assert set(compiled.namelist()) - set(wheel.namelist()) == less


def test_the_release_workflow_calls_what_is_there() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    commands = [step["run"].strip() for step in steps if "run" in step]
    assert {".ci/run", "make package"} <= set(commands)
    tag = next(command for command in commands if command.startswith("test "))
    environment = {"GITHUB_REF_NAME": f"v{flowcraft.__version__}", "PATH": "/usr/bin:/bin"}
    assert subprocess.run(["sh", "-c", tag], cwd=ROOT, env=environment, check=False).returncode == 0
    environment["GITHUB_REF_NAME"] += ".1"
    assert subprocess.run(["sh", "-c", tag], cwd=ROOT, env=environment, check=False).returncode == 1


def test_no_artefact_has_a_large_file_or_a_trace_of_the_machine_that_built_it(artefacts: Artefacts) -> None:
    archives = (in_wheel(artefacts), members(artefacts.source_archive), members(artefacts.tarball))
    for name, content in (item for archive in archives for item in archive.items()):
        assert len(content) < LARGEST, name
        assert str(ROOT).encode() not in content, name
        is_template = name.endswith(".template")  # of a new project, with tests of its own
        assert is_template or not {"tests", "node_modules", ".env"} & set(Path(name).parts), name


def test_the_npm_tarball_has_the_sources_that_its_maps_name(artefacts: Artefacts) -> None:
    files = members(artefacts.tarball)
    tops = {name.partition("/")[0] for name in files}
    assert tops == {"LICENSE", "README.md", "package.json", "dist", "src"}
    maps = [name for name in files if name.endswith(".map")]
    assert maps
    for name in maps:
        told = json.loads(files[name])
        assert "sourcesContent" not in told, "the sources are there once, not twice"
        for source in told["sources"]:
            place = (Path("/", name).parent / source).resolve()
            assert str(place)[1:] in files, f"{name} names {source}"
    assert not [name for name in files if ".test." in name or name.endswith(".tsbuildinfo")]
