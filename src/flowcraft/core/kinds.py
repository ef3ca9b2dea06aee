"""Kinds: what resets, skipped events and withdrawals do to the records beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flowcraft.records import Kind, Record


@dataclass(frozen=True, slots=True)
class Parted:
    """The records to send to the subscribers of some channels, and the reasons by channel that is reset."""

    records: tuple[Record, ...]
    resets: Mapping[str, str] = field(default_factory=dict[str, str])


def part(records: tuple[Record, ...], channels_of: Callable[[str], Iterable[str]]) -> Parted:
    """Separate records into those to send and the resets; `channels_of` returns a family's channels.

    No record of a channel that is reset is sent: the state that the client loads includes it. An event
    skipped for a whole family becomes one on each of its channels, once per batch and reason: a column that
    is gone skips every write, and a family may have thousands of channels. Of the counts of a channel only
    the last is sent: a client that was away for an hour would have thousands.
    """
    resets = _resets(records, channels_of)
    skipped = {(r.channel, r.reason): r for r in records if r.kind is Kind.SKIPPED and _is_reserved(r)}
    counts = {record.channel: record for record in records if record.kind is Kind.COUNT}
    sent: list[Record] = []
    for record in records:
        if record.kind is Kind.RESET or record.kind is Kind.WITHDRAWAL:
            continue
        if record.kind is Kind.COUNT and counts[record.channel] is not record:
            continue
        if not _is_reserved(record):
            sent.append(record)
        elif record.kind is Kind.SKIPPED and skipped[record.channel, record.reason] is record:
            sent += [_on(channel, record) for channel in channels_of(record.channel)]
    if resets:
        sent = [record for record in sent if record.channel not in resets]
    return Parted(tuple(sent), resets)


def by_reason(resets: Mapping[str, str], channels: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Return those of some channels that are reset, by reason."""
    found: dict[str, list[str]] = {}
    for channel in channels:
        if channel in resets:
            found.setdefault(resets[channel], []).append(channel)
    return found


def _resets(records: Iterable[Record], channels_of: Callable[[str], Iterable[str]]) -> Mapping[str, str]:
    resets: dict[str, str] = {}
    for record in records:
        if record.kind is Kind.RESET:
            names = channels_of(record.channel) if _is_reserved(record) else (record.channel,)
            resets.update(dict.fromkeys(names, record.reason))
    return resets


def _on(channel: str, record: Record) -> Record:
    # Not `dataclasses.replace`, which takes three times as long: a family may have thousands of channels.
    return Record(record.xid, record.id, channel, record.payload, kind=record.kind)


def _is_reserved(record: Record) -> bool:
    return record.channel.endswith("*")
