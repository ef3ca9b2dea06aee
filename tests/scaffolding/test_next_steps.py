"""What our commands print as the next step works, in a backend with Alembic; see also `tests/world`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scaffolding.started import run
from tests.support.journeys import SHAPES, journey


@pytest.mark.world
@pytest.mark.timeout(240)
async def test_the_next_steps_of_a_backend_with_alembic_lead_to_an_event(here: Path, database: str) -> None:
    commands = await journey(here, SHAPES["FastAPI with Alembic"], database)
    assert commands.count("alembic upgrade head") == 2
    assert sum(command.startswith("python -m pytest ") for command in commands) == 2


@pytest.mark.parametrize("address", ["postgresql://me@127.0.0.1:1/x", "postgresql://me@h/x?port=one", "x"])
def test_doctor_ends_in_a_line_whatever_the_address(address: str, here: Path) -> None:
    with pytest.raises(AssertionError) as failed:
        run(here, "flowcraft", "doctor", "--quick", DATABASE_URL=address)
    assert "error: the database" in str(failed.value)
    assert "Traceback" not in str(failed.value)
