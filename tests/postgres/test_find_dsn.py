"""The address of the database: passed, or from the environment, as people have it there."""

from __future__ import annotations

import pytest

from flowcraft.adapters.postgres.address import find_dsn
from flowcraft.adapters.postgres.django_address import address_of_settings


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


POSTGRES = {"ENGINE": "django.db.backends.postgresql", "NAME": "app"}


@pytest.mark.parametrize(
    ("database", "address"),
    [
        ({}, None),
        ({"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}, None),
        ({**POSTGRES, "NAME": ""}, None),
        (POSTGRES, "postgresql:///app"),
        (
            {**POSTGRES, "USER": "me", "PASSWORD": "p@:/ ?", "HOST": "db", "PORT": 5433},
            "postgresql://me:p%40%3A%2F%20%3F@db:5433/app",
        ),
        ({**POSTGRES, "HOST": "::1", "NAME": "my app"}, "postgresql://[::1]/my%20app"),
        (
            {**POSTGRES, "USER": "me", "HOST": "/run/pg", "PORT": "5433"},
            "postgresql://me@/app?host=%2Frun%2Fpg&port=5433",
        ),
        (
            {**POSTGRES, "ENGINE": "django.contrib.gis.db.backends.postgis",
             "OPTIONS": {"sslmode": "require", "options": "-c search_path=shop", "pool": True}},
            "postgresql:///app?options=-c+search_path%3Dshop&sslmode=require",
        ),
    ],
)  # fmt: skip
def test_the_address_of_a_database_of_django(database: dict[str, object], address: str | None) -> None:
    assert address_of_settings(database) == address
