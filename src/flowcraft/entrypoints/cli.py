"""The command `flowcraft`."""

from __future__ import annotations

from importlib import import_module

import click

from flowcraft._version import __version__
from flowcraft.entrypoints.commands.exit_status import example

_SECTIONS = {
    "Start": ("init", "channel", "dev"),
    "Develop": ("check", "codegen", "broadcast", "tail", "token"),
    "Operate": ("serve", "relay", "migrate", "doctor", "bench", "purge"),
}
_COMMANDS = tuple(name for names in _SECTIONS.values() for name in names)


class Commands(click.Group):
    """A group that imports a command when it is used, so that `flowcraft serve` loads no other's code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all commands."""
        return list(_COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by what they are for."""
        for section, names in _SECTIONS.items():
            found = [(name, command) for name in names if (command := self.get_command(ctx, name))]
            with formatter.section(section):
                formatter.write_dl([(name, command.get_short_help_str(80)) for name, command in found])

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
