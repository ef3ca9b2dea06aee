"""Conflation: the key by which a later event of a channel replaces an unsent one."""

from __future__ import annotations

from typing import TypeAlias, cast

import msgspec

from flowcraft.channels import Channels
from flowcraft.declarations import Declaration
from flowcraft.records import Kind, Record

ConflationKey: TypeAlias = tuple[str, bytes]
"""A channel, and the JSON of the field by which its events replace each other."""


class _Keyed(msgspec.Struct):
    key: object


class Conflation:
    """The conflated channels of an application. The server parses payloads only for these."""

    def __init__(self, channels: Channels) -> None:
        self._keys = {d.prefix: _decoder(d) for d in channels if d.conflate}

    def __bool__(self) -> bool:
        return bool(self._keys)

    def key(self, record: Record) -> ConflationKey | None:
        """Return the key by which a later record replaces this one; None if no record may.

        A row that is gone has the key of its events. A skipped event has none: its client must load its
        state again, whatever comes later.
        """
        if record.kind is Kind.SKIPPED:
            return None
        prefix = record.channel.partition(".")[0]
        if prefix not in self._keys:
            return None
        decoder = self._keys[prefix]
        if decoder is None:
            return record.channel, b""
        try:
            key = decoder.decode(record.payload).key
            return record.channel, msgspec.json.encode(key, order="deterministic")
        except (ValueError, OverflowError, RecursionError):
            # Broadcast from SQL with a payload that does not match its declaration, or too deep: deliver it.
            return None


def _decoder(declaration: Declaration) -> msgspec.json.Decoder[_Keyed] | None:
    if declaration.conflate is True:
        return None
    fields = [("key", object)]
    keyed = msgspec.defstruct("Keyed", fields, bases=(_Keyed,), rename={"key": str(declaration.conflate)})
    return msgspec.json.Decoder(cast("type[_Keyed]", keyed))
