"""Naming: the convention for channel names, and the names derived from a channel's name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from flowcraft.channels import Channels
from flowcraft.errors import DeclarationError
from flowcraft.events import Event
from flowcraft.names import rows_parameter_of

CONVENTION = """\
A channel's name follows one of these forms:
  <entity>_update   changes of all entities of a kind         flow_update, run_update
  <entity>.{id}     everything about one entity, by its id    runs.{run_id}, alerts.{alert_id}
  <entity>_rows     the rows of a table; <entity>_rows.{id}   user_rows, task_rows.{team_id}
  system            announcements to all users
  dashboard         figures of the whole system
Lower case, digits and _; at most 48 characters before the dot."""

PARAMETER_TYPES = {"UUID": UUID, "int": int, "str": str}


class _AnyEvent(Event):
    """A placeholder event: only the channel's name is checked."""


@dataclass(frozen=True, slots=True)
class Names:
    """A channel's name and the names derived from it."""

    channel: str
    entity: str
    parameter: str | None
    variable: str

    @property
    def are_rows(self) -> bool:
        """Whether the channel has the rows of a table."""
        return self.channel.partition(".")[0].endswith("_rows")

    @property
    def one(self) -> str:
        """The word for one entity: `run` of `run_update` and of `runs.{run_id}`."""
        return self.entity if self.parameter is None or self.are_rows else _singular(self.entity)

    @property
    def names_a_row(self) -> bool:
        """Whether the parameter is the key of an entity, as in `runs.{run_id}`, not of `runs.{team_id}`."""
        return self.parameter in ("id", self.one, f"{self.one}_id")

    @property
    def words(self) -> str:
        """The part before the dot, with hyphens: the stem of file names in the web folder."""
        return self.channel.partition(".")[0].replace("_", "-")

    @property
    def builder(self) -> str:
        """The channel's key in the generated TypeScript: `flowUpdate` of `channel.flowUpdate`."""
        first, *others = self.words.split("-")
        return first + "".join(word.capitalize() for word in others)


def names_of(channel: str) -> Names:
    """Return the names derived from a channel's name.

    Raises:
        DeclarationError: the name breaks the convention.
    """
    prefix, dot, rest = channel.partition(".")
    parameter = rest[1:-1] if dot and rest[:1] == "{" and rest[-1:] == "}" else None
    try:
        if prefix.endswith("_rows"):
            rows_parameter_of(channel, {} if parameter is None else {parameter: UUID})
            return Names(channel, prefix.removesuffix("_rows"), parameter, prefix)
        if parameter is None:
            Channels().declare(channel, _AnyEvent)
        else:
            Channels().declare(channel, _AnyEvent, params={parameter: UUID})
    except DeclarationError as error:
        raise DeclarationError(f"{error}\n{CONVENTION}") from None
    if parameter is None:
        return Names(channel, prefix.removesuffix("_update"), None, prefix)
    entity = parameter.removesuffix("_id")
    return Names(channel, prefix, parameter, prefix.removesuffix("s") if entity == "id" else entity)


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith(("ses", "xes", "ches", "shes")):
        return word[:-2]
    return word.removesuffix("s") if not word.endswith("ss") else word


def pascal_case(name: str) -> str:
    """`flow_update` and `flow-update` become `FlowUpdate`."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[_\-]+", name))


def snake_case(name: str) -> str:
    """`FlowUpdate` becomes `flow_update`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def kebab_case(name: str) -> str:
    """`flow_update` and `FlowUpdate` become `flow-update`."""
    return snake_case(name).replace("_", "-")
