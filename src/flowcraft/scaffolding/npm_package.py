"""The npm package: the client of this version, so that a project needs no registry for it."""

from __future__ import annotations

import io
import posixpath
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from flowcraft.scaffolding.edits import ScaffoldingRefused

_SHIPPED = "_npm"
_SOURCES = Path(__file__).parents[3] / "packages" / "realtime"
_ENTRY = "dist/index"
_IMPORT = re.compile(r'(?:from |import\()"(\.\.?/[^"]+)\.js"')
_SOURCE_MAP = re.compile(r"^//# sourceMappingURL=.*\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class NpmPackage:
    """The tarball of `@flowcraft/realtime`, as a registry serves it."""

    name: str
    content: bytes

    def texts(self) -> dict[str, str]:
        """Return the files of the package, by path."""
        with tarfile.open(fileobj=io.BytesIO(self.content)) as archive:
            members = [(member.name, archive.extractfile(member)) for member in archive]
            return {
                name.removeprefix("package/"): opened.read().decode()
                for name, opened in members
                if opened is not None
            }

    def for_the_browser(self) -> dict[str, str]:
        """Return the modules that a page without a bundler needs, with their types, by path."""
        texts = self.texts()
        modules = [name + ending for ending in (".js", ".d.ts") for name in _reached(texts, ending)]
        return {name: _SOURCE_MAP.sub("", texts[name]) for name in ["package.json", *modules]}


@cache
def npm_package() -> NpmPackage:
    """Return the package inside this installation; in a checkout, pack it from its sources.

    Raises:
        ScaffoldingRefused: the installation has no copy and is no checkout, or npm cannot pack it.
    """
    shipped = files("flowcraft") / _SHIPPED
    for tarball in shipped.iterdir() if shipped.is_dir() else ():
        if tarball.name.endswith(".tgz"):
            return NpmPackage(tarball.name, tarball.read_bytes())
    if not (_SOURCES / "package.json").is_file():
        raise ScaffoldingRefused(
            "this installation has no copy of @flowcraft/realtime; install flowcraft-realtime from its wheel"
        )
    return _packed(_SOURCES)


def _packed(sources: Path) -> NpmPackage:
    with tempfile.TemporaryDirectory() as folder:
        _npm(sources, "run", "--silent", "build")
        _npm(sources, "pack", "--silent", "--ignore-scripts", "--pack-destination", folder)
        tarball = next(Path(folder).glob("*.tgz"))
        return NpmPackage(tarball.name, tarball.read_bytes())


def _npm(sources: Path, *arguments: str) -> None:
    try:
        subprocess.run(  # noqa: S603  # npm, on this checkout
            ["npm", *arguments],  # noqa: S607  # the one on the PATH
            cwd=sources,
            check=True,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        raise ScaffoldingRefused(
            "npm is not on the PATH; in a checkout, npm packs the client: install Node"
        ) from None
    except subprocess.CalledProcessError as error:
        raise ScaffoldingRefused(
            f"npm cannot pack the client; run `make build` in {sources.parents[1]}: {error.stderr.strip()}"
        ) from None


def _reached(texts: dict[str, str], ending: str) -> list[str]:
    """Return the entry module and all modules that it imports, directly and indirectly."""
    found = [_ENTRY]
    for name in found:
        imported = _IMPORT.findall(texts[name + ending])
        paths = [posixpath.normpath(f"{posixpath.dirname(name)}/{target}") for target in imported]
        found += [path for path in dict.fromkeys(paths) if path not in found]
    return found
