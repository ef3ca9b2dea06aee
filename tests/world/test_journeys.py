"""What our commands print as the next step works in existing projects of every shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.journeys import SHAPES, journey

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "FastAPI with Alembic"])
async def test_the_next_steps_lead_to_an_event(name: str, here: Path, database: str) -> None:
    commands = await journey(here, SHAPES[name], database)
    own = "python manage.py migrate" if name.startswith("Django") else "flowcraft migrate"
    assert sum(command.startswith(own) for command in commands) == 3
