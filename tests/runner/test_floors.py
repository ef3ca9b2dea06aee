"""The table of floors is compared with what an installation may have."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_floors.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_floors", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def project(*dependencies: str, **extras: list[str]) -> dict[str, Any]:
    return {"dependencies": list(dependencies), "optional-dependencies": extras}


FLOORS = {"pyjwt": {"floor": "2.13", "reason": "an advisory"}}


@pytest.mark.parametrize(
    ("declared", "lock", "named"),
    [
        (project("PyJWT[crypto]>=2.13"), "pyjwt==2.15.1 \\\n", []),
        (project("PyJWT>=2.13.1"), "", []),
        (project("PyJWT>=2.9"), "", ["admits less than 2.13: an advisory"]),
        (project("PyJWT>=2.12.99"), "", ["admits less"]),
        (project("PyJWT"), "", ["admits less"]),
        (project("PyJWT<3"), "", ["admits less"]),
        (project("PyJWT>=2.13", "other>=1"), "", ["other is not in"]),
        (project("PyJWT>=2.13", web=["py-jwt-2>=1"]), "", ["py-jwt-2 is not in"]),
        (project("PyJWT>=2.13", dev=["pytest>=8"]), "", []),
        (project("PyJWT>=2.13"), "pyjwt==2.10.0 \\\n", ["the lock has pyjwt 2.10.0, below 2.13"]),
    ],
)
def test_a_dependency_below_its_floor_is_named(
    script: ModuleType, declared: dict[str, Any], lock: str, named: list[str]
) -> None:
    found = script.faults(declared, lock, FLOORS)
    assert len(found) == len(named)
    for fault, text in zip(found, named, strict=True):
        assert text in fault


def test_the_project_is_above_its_floors(script: ModuleType) -> None:
    assert script.main() == 0
