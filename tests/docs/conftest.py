"""What follows a page: a folder and a database for each, one compiler for all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

import pytest

from tests.docs.following import ReferenceClient
from tests.docs.processes import HERE, ROOT, Answering

FOLDERS = ROOT / "build/snippets"  # within the repository: packages are found from there


@pytest.fixture(scope="session")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answering]:
    """The process that checks TypeScript."""
    command = ["node", str(HERE / "typecheck.mjs"), str(ROOT)]
    compiler = Answering(command, tmp_path_factory.mktemp("tsc"), os.environ)
    yield compiler
    compiler.close()


@pytest.fixture
def follower(request: pytest.FixtureRequest, database: str, compiler: Answering) -> Iterator[ReferenceClient]:
    """Somebody who does what a page says."""
    folder = FOLDERS / re.sub(r"[^\w.-]+", "-", request.node.name).strip("-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    follower = ReferenceClient(folder, database, compiler)
    yield follower
    follower.close()
