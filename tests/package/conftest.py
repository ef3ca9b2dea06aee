"""The artefacts and their installations, made once for all tests of this folder."""

from __future__ import annotations

import pytest

from tests.support.artefacts import Artefacts, Installation, WebProject
from tests.support.once import made_once


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Artefacts:
    return Artefacts(made_once(tmp_path_factory, "artefacts", Artefacts.build))


@pytest.fixture(scope="session")
def installation(artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation.make(artefacts.wheel, tmp_path_factory.mktemp("installed") / "venv", ["dev"])


@pytest.fixture(scope="session")
def base(artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """What `pip install flowcraft-realtime` gives, without an extra."""
    return Installation.make(artefacts.wheel, tmp_path_factory.mktemp("base") / "venv")


@pytest.fixture(scope="session")
def page(artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> WebProject:
    return WebProject.make(artefacts.tarball, tmp_path_factory.mktemp("web") / "page")
