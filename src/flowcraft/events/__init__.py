"""Events: the typed facts that a service broadcasts, and their JSON."""

from flowcraft.events.codecs import EventField
from flowcraft.events.declared import Event, Int64
from flowcraft.events.payload import MAX_PAYLOAD_BYTES, Payload, Tag
from flowcraft.events.schemas import JsonSchema

__all__ = ["MAX_PAYLOAD_BYTES", "Event", "EventField", "Int64", "JsonSchema", "Payload", "Tag"]
