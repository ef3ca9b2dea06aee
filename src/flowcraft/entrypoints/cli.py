"""The command `flowcraft`."""

from __future__ import annotations

from importlib import import_module

import click

from flowcraft._version import __version__
from flowcraft.entrypoints.commands.exit_status import example

_COMMANDS = (
    "bench",
    "broadcast",
    "channel",
    "check",
    "codegen",
    "doctor",
    "init",
    "migrate",
    "purge",
    "relay",
    "serve",
    "tail",
    "token",
)


class Commands(click.Group):
    """A group that imports a command when it is used, so that `flowcraft serve` loads no other's code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command, or None if there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        found: click.Command = import_module(f"flowcraft.entrypoints.commands.{cmd_name}").command
        return found


@click.group(
    "flowcraft",
    cls=Commands,
    epilog=example(
        "flowcraft migrate app.realtime:realtime",
        "flowcraft serve app.realtime:realtime",
        done="success",
        failed="failure, or a problem found",
    ),
    context_settings={"show_default": True},
)
@click.version_option(__version__, message="%(prog)s %(version)s", help="Show the version and exit.")
def app() -> None:
    """Typed realtime channels from PostgreSQL commits to React components."""


def main() -> None:
    """Run the command; the console's entry."""
    app(prog_name="flowcraft")


if __name__ == "__main__":
    main()
