"""What is published, built as for publishing, and installed where no checkout is in reach."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PathDistribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"


@dataclass(frozen=True)
class Artefacts:
    """The folder that `make package` fills."""

    folder: Path

    @classmethod
    def build(cls, folder: Path) -> Artefacts:
        run([ROOT / "scripts/package", folder], cwd=folder)
        return cls(folder)

    @property
    def wheel(self) -> Path:
        return self._one("*.whl")

    @property
    def source_archive(self) -> Path:
        return self._one("*.tar.gz")

    @property
    def tarball(self) -> Path:
        return self._one("*.tgz")

    def _one(self, pattern: str) -> Path:
        (found,) = self.folder.glob(pattern)
        return found


@dataclass(frozen=True)
class Installation:
    """A virtual environment with the wheel in it, and nothing beside what the wheel asks for."""

    venv: Path

    @classmethod
    def make(cls, wheel: Path, venv: Path, extras: Iterable[str] = ()) -> Installation:
        run([UV, "venv", "--quiet", "--offline", "--python", sys.executable, venv], cwd=venv.parent)
        made = cls(venv)
        run(
            [UV, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", made.python, wheel],
            cwd=venv.parent,
        )
        made.lend_dependencies(extras)
        return made

    @property
    def python(self) -> Path:
        return self.venv / "bin/python"

    @property
    def flowcraft(self) -> Path:
        return self.venv / "bin/flowcraft"

    def lend_dependencies(self, extras: Iterable[str]) -> None:
        """Link what the wheel asks for, so that a dependency it does not declare is missing here."""
        site = self.venv / SITE
        (own,) = distributions(name="flowcraft-realtime", path=[str(site)])
        for found in _needed(own.requires or [], ("", *extras), set()):
            for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
                link = site / top
                if not link.exists():
                    link.symlink_to(Path(str(found.locate_file(top))))

    def run(self, *arguments: str | Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program; one that fails is told with what it said."""
        return run(arguments, cwd=cwd, **variables)


def _needed(
    requirements: Iterable[str], extras: Iterable[str], seen: set[tuple[str, str]]
) -> Iterator[PathDistribution]:
    for requirement in map(Requirement, requirements):
        asked = any(
            requirement.marker is None or requirement.marker.evaluate({"extra": extra}) for extra in extras
        )
        key = requirement.name, ",".join(sorted(requirement.extras))
        if not asked or key in seen:
            continue
        seen.add(key)
        found = distribution(requirement.name)
        assert isinstance(found, PathDistribution)
        yield found
        yield from _needed(found.requires or [], ("", *requirement.extras), seen)


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment without what would lead back to the checkout, or to a database."""
    ours = ("PYTHON", "FLOWCRAFT", "DATABASE_URL", "VIRTUAL_ENV", "PYTEST", "npm_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**kept, "COLUMNS": "100", "PYTHONUNBUFFERED": "1", **variables}


def run(command: Iterable[str | Path], *, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command apart from the checkout; one that fails is told with what it said."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=clean_environment(**variables), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@dataclass(frozen=True)
class WebProject:
    """A project that is empty but for the installed client and the libraries that a page brings along."""

    folder: Path

    @classmethod
    def make(cls, tarball: Path, folder: Path) -> WebProject:
        """Install the client, take its TypeScript sources out, and link React and the others."""
        folder.mkdir()
        (folder / "package.json").write_text('{ "name": "page", "private": true, "type": "module" }')
        quiet = ("--offline", "--no-audit", "--no-fund", "--silent", "--legacy-peer-deps")
        run(["npm", "install", *quiet, tarball], cwd=folder)
        modules = folder / "node_modules"
        for name in (*json.loads((ROOT / "package.json").read_text())["devDependencies"], "ws"):
            (modules / name).parent.mkdir(exist_ok=True)
            (modules / name).symlink_to(ROOT / "node_modules" / name)
        return cls(folder)

    @property
    def client(self) -> Path:
        return self.folder / "node_modules/@flowcraft/realtime"

    def entries(self) -> list[str]:
        """What can be imported."""
        exported = json.loads((self.client / "package.json").read_text())["exports"]
        return [f"@flowcraft/realtime{path[1:]}" for path in exported if path != "./package.json"]


def members(archive: Path) -> dict[str, bytes]:
    """The files of a tar archive, without its first folder."""
    with tarfile.open(archive) as tar:
        return {
            member.name.partition("/")[2]: extracted.read()
            for member in tar
            if (extracted := tar.extractfile(member)) is not None
        }
