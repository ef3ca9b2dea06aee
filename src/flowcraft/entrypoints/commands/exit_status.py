"""Exit status: how a command ends with an error, and what its help page states about its exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import click

from flowcraft.errors import DeclarationError, RealtimeError

FAILED = 1
USAGE = 2


def fail(sentence: str, status: int = FAILED) -> NoReturn:
    """End the command with an error line on standard error."""
    click.echo(f"error: {sentence}", err=True)
    raise click.exceptions.Exit(status)


def example(
    *lines: str, done: str = "success", failed: str = "failure, with the reason on standard error"
) -> str:
    """Return the epilog of a command's help: examples, and the meaning of its exit status."""
    statuses = f"Exit status: 0 {done}; 1 {failed}; 2 usage error."
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines), "", statuses])


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn errors of the application into an error line and exit status 1."""
    try:
        yield
    except (DeclarationError, RealtimeError) as error:
        fail(str(error))
