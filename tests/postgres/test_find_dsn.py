"""The address of the database: passed, or from the environment, as people have it there."""

from __future__ import annotations

import pytest

from flowcraft.adapters.postgres.address import find_dsn


@pytest.mark.parametrize("driver", ["", "+psycopg", "+psycopg2", "+asyncpg", "+psycopg_async"])
@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_an_address_of_sqlalchemy_is_one_without_its_driver(
    scheme: str, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FLOWCRAFT_DSN", raising=False)
    rest = "://me:p%40+://ss@[::1]:5432/app?host=/run&application_name=a+b"
    expected = f"{'postgresql' if driver else scheme}{rest}"
    assert find_dsn(f"{scheme}{driver}{rest}") == expected
    monkeypatch.setenv("DATABASE_URL", f"{scheme}{driver}{rest}")
    assert find_dsn(None) == expected
