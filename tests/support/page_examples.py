"""Examples of the documentation, as modules."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from tests.docs.blocks import blocks

DOCS = Path(__file__).parents[2] / "docs"


def example(page: str, title: str) -> ModuleType:
    """Execute the block of a page with a title; return it as a module."""
    (block,) = [block for block in blocks((DOCS / page).read_text()) if block.title == title]
    module = ModuleType(title.removesuffix(".py"))
    exec(compile(block.text, title, "exec"), module.__dict__)  # our own documentation
    return module
