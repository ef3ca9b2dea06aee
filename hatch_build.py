"""The build hook: compile the fan-out in C where a compiler is; elsewhere the wheel is pure Python."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE, MODULE = Path("src/flowcraft/_fan_out.c"), Path("src/flowcraft/_fan_out.abi3.so")
FLAGS = ("-O2", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror")
FLAGS_ON_MACOS = ("-undefined", "dynamic_lookup")


class FanOutHook(BuildHookInterface[Any]):
    """Compiles for the stable ABI of CPython (PEP 384): one wheel of a platform is for every version.

    `FLOWCRAFT_PURE=1` makes a pure wheel.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the compiled module to a wheel; for an editable installation, to the source tree."""
        (Path(self.root) / MODULE).unlink(missing_ok=True)
        if reason := _reason_against():
            self.app.display_warning(f"fan-out is left to Python, not compiled: {reason}")
            return
        _compile(Path(self.root))
        build_data["artifacts"].append(f"/{MODULE}")
        if version != "editable":
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{platform}"


def _reason_against() -> str:
    if os.environ.get("FLOWCRAFT_PURE"):
        return "FLOWCRAFT_PURE is set"
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "this Python has no stable ABI"
    if sys.platform == "win32":
        return "sockets are no files on Windows"
    if not (_include() / "Python.h").exists():
        return f"there is no Python.h in {_include()}"
    return "" if _compiler() else "there is no C compiler; CC may name one"


def _compile(root: Path) -> None:
    flags = (*FLAGS, *(FLAGS_ON_MACOS if sys.platform == "darwin" else ()))
    # Names without folders: what is compiled does not depend on where.
    command = [*_compiler(), *flags, f"-I{_include()}", SOURCE.name, "-o", MODULE.name]
    subprocess.run(command, cwd=root / SOURCE.parent, check=True)


def _include() -> Path:
    return Path(sysconfig.get_paths()["include"])


def _compiler() -> list[str]:
    for wanted in (os.environ.get("CC"), sysconfig.get_config_var("CC"), "cc"):
        command = shlex.split(str(wanted or ""))
        if command and shutil.which(command[0]):
            return command
    return []
