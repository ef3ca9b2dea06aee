"""Visitors: a token names one, and what is none is refused."""

from __future__ import annotations

import pytest

from examples.flowcraft.api.adapters.visitors import VisitorAuthorizer
from examples.flowcraft.api.core.domain.channels import visitor
from examples.flowcraft.api.core.domain.events import Visitor
from flowcraft import Viewer
from flowcraft.errors import TokenInvalid

ID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"


async def test_a_token_names_the_visitor_who_is_shown() -> None:
    viewer = await VisitorAuthorizer().authenticate(f"{ID} Keen Wren")
    assert viewer == Viewer(ID, {"name": "Keen Wren"})
    shown = visitor(viewer)
    assert isinstance(shown, Visitor)
    assert (str(shown.id), shown.name) == (ID, "Keen Wren")


@pytest.mark.parametrize(
    "token", ["", ID, f"{ID} ", f"{ID} {'x' * 41}", f"{ID} <b>", f"{ID.upper()} Wren", "7 Wren"]
)
async def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(TokenInvalid):
        await VisitorAuthorizer().authenticate(token)
