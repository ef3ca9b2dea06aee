"""Each setting by itself: what an application's defaults may be, and our processes work all the same."""

from __future__ import annotations

import pytest

from tests.postgres.test_session_settings import HOSTILE, dsn, make_hostile, use_everything

__all__ = ["dsn"]


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_default_of_a_database_or_role_disturbs_us(dsn: str, name: str) -> None:
    await make_hostile(dsn, **{name: HOSTILE[name]})
    await use_everything(dsn, "public.thing")
