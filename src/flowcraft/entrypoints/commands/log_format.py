"""Log format: the option of commands that run until they are stopped."""

from __future__ import annotations

import logging
from enum import Enum

import click

from flowcraft.adapters.json_logs import JsonLines

LOG_FORMAT = "FLOWCRAFT_LOG_FORMAT"


class LogFormat(Enum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


log_format_option = click.option(
    "--log-format",
    envvar=LOG_FORMAT,
    help="The format of log lines: text, or one JSON object per line.",
    type=click.Choice([one.value for one in LogFormat]),
    default=LogFormat.TEXT.value,
)


def log_to_stderr(log_format: LogFormat, **who: int) -> None:
    """Write log lines to standard error; `who` names this process in them."""
    handler = logging.StreamHandler()
    if log_format is LogFormat.JSON:
        handler.setFormatter(JsonLines(**who))
    else:
        name = "".join(f" {what} {number}" for what, number in who.items())
        handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s %(name)s{name}: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
