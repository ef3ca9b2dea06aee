"""Copies of the example, with and without its pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checks.project import Project, copied


@pytest.fixture
def service(here: Path) -> Project:
    return copied(here, web=False)


@pytest.fixture
def project(here: Path) -> Project:
    return copied(here, web=True, without=("components", "testing", "ui", "*.test.ts*", "*.css"))


@pytest.fixture
def whole(here: Path) -> Project:
    return copied(here, web=True)
