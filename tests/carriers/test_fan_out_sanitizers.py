"""The fan-out in C, compiled with AddressSanitizer and UndefinedBehaviorSanitizer: its tests find nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from flowcraft import fan_out

ROOT = Path(__file__).parents[2]
FLAGS = ("-g", "-O1", "-fPIC", "-shared", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:flowcraft", "--noconftest")
"""Without the fixtures of all tests, which start programs that are not compiled so."""


@pytest.mark.skipif(
    fan_out.IMPLEMENTATION != "C" or not shutil.which("gcc"), reason="not compiled, or no gcc"
)
@pytest.mark.timeout(180)
def test_sanitizers_find_nothing(tmp_path: Path) -> None:
    libraries = list(map(_library, ("libasan.so", "libubsan.so")))
    if not all(map(os.path.isabs, libraries)):
        pytest.skip("gcc has no sanitizers here")
    package = tmp_path / "flowcraft"
    sources = Path(fan_out.__file__).parent
    shutil.copytree(sources, package, ignore=shutil.ignore_patterns("*.so", "__pycache__", "_npm"))
    include, target = sysconfig.get_paths()["include"], package / "_fan_out.abi3.so"
    compile_ = ["gcc", *FLAGS, f"-I{include}", str(package / "_fan_out.c"), "-o", str(target)]
    subprocess.run(compile_, check=True, timeout=60)
    environment = {
        "LD_PRELOAD": ":".join(libraries),
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "PYTHONMALLOC": "malloc",  # the sanitizer sees every object then
        "ASAN_OPTIONS": "detect_leaks=0",
    }
    done = subprocess.run(
        [sys.executable, *PYTEST, "-o", "addopts=--import-mode=importlib", "tests/carriers/test_fan_out.py"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


def _library(name: str) -> str:
    """Return the path of a library of gcc; its name alone if gcc has none."""
    command = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
