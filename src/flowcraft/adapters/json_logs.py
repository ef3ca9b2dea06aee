"""JSON logs: one object per line, for log collectors."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec


class JsonLines(logging.Formatter):
    """Formats a log record as JSON. `fields` are in every line.

    `template` is the message before its values are filled in, to group equal lines by. No log line of
    FlowCraft holds a payload or a token; an error is logged with its message and traceback.
    """

    def __init__(self, **fields: str | int) -> None:
        super().__init__()
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            **self._fields,
            "message": record.getMessage(),
            "template": str(record.msg),
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()
