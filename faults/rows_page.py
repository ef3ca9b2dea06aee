"""A page that shows rows: it applies the frames of a server strictly, and keeps what it has shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Key = tuple[Any, ...]


class RowsPage:
    """The rows of some channels by key, changed by whole groups; an `AssertionError` is a server's fault."""

    def __init__(self, *channels: str, present: bool = False) -> None:
        self.channels = channels
        self._present = {"present": True} if present else {}
        self.rows: dict[str, dict[Key, dict[str, Any]]] = {channel: {} for channel in channels}
        self.cursors: dict[str, str | None] = dict.fromkeys(channels)
        self.live: set[str] = set()
        self.unlisted: dict[str, int] = {}
        """The members of channels that have their number in the place of a list."""
        self.states = 0
        self.groups = 0
        """How many groups were applied: what is shown changes with them only."""
        self.errors: list[dict[str, Any]] = []
        self._keys: dict[str, list[str]] = {}
        self._items: dict[str, list[dict[str, Any]]] = {}
        self._group: list[dict[str, Any]] = []
        self._sent = 0

    def requests(self) -> list[dict[str, Any]]:
        """Return the frames that ask for what is not live."""
        asked: list[dict[str, Any]] = []
        for channel in self.channels:
            if channel not in self.live:
                self._sent += 1
                since = {} if self.cursors[channel] is None else {"since": self.cursors[channel]}
                request = {"subscribe": [channel], **since, "rows": True, **self._present}
                asked.append({**request, "ref": self._sent})
        return asked

    def lost(self) -> None:
        """Note that the connection has ended."""
        self.live.clear()
        self._items.clear()
        self._group.clear()

    def received(self, message: str | bytes) -> list[dict[str, Any]]:
        """Process one message; return the frames to send."""
        frame: dict[str, Any] = json.loads(message)
        if "channel" in frame:
            self._group.append(frame)
        elif isinstance(frame.get("rows"), str):
            self._keys[frame["rows"]] = frame["key"]
            self._items.setdefault(frame["rows"], []).extend(frame["items"])
        elif "error" in frame:
            self.errors.append(frame["error"])
        elif "reset" in frame:
            assert not self._group, "a reset closes an empty group"
            assert "ref" not in frame, "a request for rows is not answered with a reset"
            self.live -= set(frame["reset"])
            self.cursors.update(dict.fromkeys(frame["reset"]))
            return self.requests()
        elif "settled" not in frame and ("subscribed" in frame or "cursor" in frame):
            self._close(frame)
        return []

    def _close(self, frame: Mapping[str, Any]) -> None:
        group, self._group = self._group, []
        items, self._items = self._items, {}
        assert len(group) == frame["n"], "the server miscounted"
        named: list[str] = frame.get("subscribed", [])
        if "rows" in frame:
            (channel,) = named
            found = items.pop(channel)
            assert len(found) == frame["rows"], "the server miscounted rows"
            self.rows[channel] = {self._key(channel, item): item for item in found}
            assert len(self.rows[channel]) == len(found), "a key is there twice"
            self.unlisted[channel] = frame.get("skipped", 0)
            self.states += 1
        assert not items, "rows without their number"
        for event in group:
            if not named or event["channel"] in named:
                self._apply(event)
        self.live |= set(named)
        for channel in named or self.live:
            self.cursors[channel] = frame["cursor"]
        self.groups += 1

    def _apply(self, event: Mapping[str, Any]) -> None:
        channel = event["channel"]
        if channel not in self.live and channel not in self.channels:
            return
        rows = self.rows[channel]
        if "count" in event:
            self.unlisted[channel] = event["count"]
        elif "payload" in event:
            rows[self._key(channel, event["payload"])] = event["payload"]
        elif "gone" in event or "key" in event["skipped"]:
            rows.pop(self._key(channel, event.get("gone") or event["skipped"]["key"]), None)

    def _key(self, channel: str, row: Mapping[str, Any]) -> Key:
        return tuple([row[name] for name in self._keys[channel]])
