"""Reporting: how a command fails, with a sentence that says what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from flowcraft.errors import DeclarationError, RealtimeError

FAILED = 1
USAGE = 2


def fail(sentence: str, status: int = FAILED) -> NoReturn:
    """End the command."""
    click.echo(f"error: {sentence}", err=True)
    raise click.exceptions.Exit(status)


def example(*lines: str, done: str = "it is done", failed: str = "it failed and said why") -> str:
    """Return the epilog of a command's help: examples, and what its exit status says."""
    statuses = f"Exit status: 0 {done}, 1 {failed}, 2 the command was not understood."
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines), "", statuses])


@contextmanager
def failures_told() -> Iterator[None]:
    """End the command with a sentence where the application, and not this command, is wrong."""
    try:
        yield
    except (DeclarationError, RealtimeError) as error:
        fail(str(error))
