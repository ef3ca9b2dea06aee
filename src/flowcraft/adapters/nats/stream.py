"""Stream: have JetStream keep the newest batches, for edges that miss some."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, final

from flowcraft.adapters.nats.address import StreamOptions
from flowcraft.adapters.nats.bridge import BRIDGED_MESSAGES
from flowcraft.adapters.nats.connection import NatsConnection, raise_if_cancelled
from flowcraft.adapters.nats.messages import LIVE_BYTES, PAYLOAD_BYTES, Subjects, cut
from flowcraft.errors import LogUnavailable

if TYPE_CHECKING:
    from nats.js.api import StreamConfig, StreamInfo

logger = logging.getLogger(__name__)

ACKNOWLEDGED_SECONDS = 0.5
"""Without an acknowledgement for this long a relay no longer waits for the stream."""
LOOK_SECONDS = 1.0
"""How often a relay looks whether the stream is back."""
ANSWER_SECONDS = 2.0
SHORTEST_SECONDS = 5.0
"""What a stream must keep at least: a cut line is found within 4 seconds."""
_EXPECTED = "Nats-Expected-Last-Sequence"
_WRONG_SEQUENCE = frozenset({10071, 10164})
"""The second one does not name the last number; then it is looked up as after a silence."""
_NOT_ENABLED = frozenset({None, 10039, 10076})
"""What JetStream answers where it is not enabled; nothing listens if the whole server is without it."""
_AWAY = "no acknowledgement"


@final
class LiveStream:
    """The stream of one database, for the relay that publishes.

    Edges receive a part as it is published, whether or not the stream stores it. While JetStream does not
    answer, nothing waits for it.
    """

    def __init__(self, connection: NatsConnection, subjects: Subjects, options: StreamOptions) -> None:
        self._connection = connection
        self._subject = subjects.live
        self._options = options
        self._last = 0
        """The number of the newest part in the stream, as far as this relay knows."""
        self._away = asyncio.Event()
        self.rejected = 0
        """Messages that were read before another relay published, or before the stream was emptied."""

    @property
    def is_stored(self) -> bool:
        """Whether the stream keeps what is published."""
        return not self._away.is_set()

    async def open(self) -> None:
        """Create the stream, or check the one that is there. Where JetStream does not answer, go on without.

        Raises:
            LogUnavailable: the connection is lost, JetStream is not enabled, or the stream does not fit.
        """
        try:
            await self._look()
        except TimeoutError:
            self._leave(f"no answer within {ANSWER_SECONDS:g} s")

    async def watch(self) -> None:
        """While the stream is away, look for it."""
        while True:
            await self._away.wait()
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self._look()
            except TimeoutError:
                logger.debug("stream %s is still away", self._options.name)
            except LogUnavailable as error:
                logger.warning("%s", error)
            else:
                logger.info("stream %s keeps what is published again", self._options.name)

    async def publish(self, content: bytes, relay: str, message: int) -> None:
        """Publish a message in parts, each after the last one in the stream.

        Raises:
            LogUnavailable: the connection is lost.
        """
        if not await self._publish(content, relay, message):
            await self._publish(content, relay, message)

    async def _publish(self, content: bytes, relay: str, message: int) -> bool:
        """Publish every part; return False at one that the stream rejects because it has fewer."""
        ahead = 0
        for part in cut(content, relay, message, stored=None if self._away.is_set() else self._last):
            if self._away.is_set() or ahead:
                # The header keeps the fence: what another relay has overtaken is delivered, and not stored.
                headers = {_EXPECTED: str(self._last)}
                await self._connection.publish(self._subject, part, headers=headers)
                continue
            last = await self._store(part)
            if last is None or last == self._last + 1:
                self._last += last is not None
            elif last < self._last:
                self._last = last
                return False
            else:
                ahead = last
        self._last = max(self._last, ahead)
        return True

    async def _store(self, part: bytes) -> int | None:
        """Publish a part and return the last number in the stream, None if that is not known."""
        from nats.errors import Error
        from nats.js.errors import APIError

        jetstream = self._connection.jetstream(ACKNOWLEDGED_SECONDS)
        try:
            stored = await jetstream.publish(self._subject, part, headers={_EXPECTED: str(self._last)})
        except APIError as error:
            found = re.search(r"\d+", error.description or "") if error.err_code in _WRONG_SEQUENCE else None
            if found is not None and int(found[0]) != self._last:
                self.rejected += 1
                return int(found[0])
            self._leave(error.description or str(error))
        except (TimeoutError, OSError) as error:
            self._leave(_AWAY if isinstance(error, TimeoutError) else str(error))
        except Error as error:
            self._leave(str(error))
        else:
            return stored.seq
        finally:
            raise_if_cancelled()
        return None

    async def _look(self) -> None:
        info = await find_stream(self._connection, self._options.name)
        if info is None:
            info = await self._create()
        problems = list(misfits(info.config, self._subject))
        if problems:
            raise LogUnavailable(f"stream {self._options.name} does not fit: {problems[0]}")
        self._last = info.state.last_seq
        self._away.clear()

    async def _create(self) -> StreamInfo:
        from nats.errors import Error
        from nats.js.api import RetentionPolicy, StorageType, StreamConfig

        options = self._options
        config = StreamConfig(
            name=options.name,
            subjects=[self._subject],
            storage=StorageType(options.storage),
            retention=RetentionPolicy.LIMITS,
            max_age=options.seconds,
            max_bytes=options.bytes,
            num_replicas=options.replicas,
            allow_direct=True,
        )
        jetstream = self._connection.jetstream(ANSWER_SECONDS)
        try:
            info = await jetstream.add_stream(config)  # pyright: ignore[reportUnknownMemberType]
        except TimeoutError:
            raise
        except (Error, OSError) as error:
            raise LogUnavailable(f"stream {options.name} cannot be created: {_reason(error)}") from error
        finally:
            raise_if_cancelled()
        logger.info("created stream %s for %s", options.name, self._subject)
        return info

    def _leave(self, reason: str) -> None:
        if not self._away.is_set():
            self._away.set()
            logger.warning(
                "stream %s does not keep what is published (%s); edges ask relays for what they miss",
                *(self._options.name, reason),
            )


async def find_stream(connection: NatsConnection, name: str) -> StreamInfo | None:
    """Return a stream, None if there is none of this name.

    Raises:
        TimeoutError: JetStream does not answer, or has no leader at the moment.
        LogUnavailable: JetStream is not enabled, or refuses.
    """
    from nats.errors import Error
    from nats.js.errors import NotFoundError, ServiceUnavailableError

    try:
        return await connection.jetstream(ANSWER_SECONDS).stream_info(name)
    except NotFoundError:
        return None
    except ServiceUnavailableError as error:
        if error.err_code in _NOT_ENABLED:
            raise LogUnavailable(_not_enabled(connection)) from error
        raise TimeoutError(error.description) from error
    except TimeoutError:
        raise
    except (Error, OSError) as error:
        raise LogUnavailable(f"stream {name} cannot be read: {_reason(error)}") from error
    finally:
        raise_if_cancelled()


def misfits(config: StreamConfig, subject: str) -> Iterator[str]:
    """Yield what keeps a stream from keeping what edges may miss, and how to change it."""
    subjects = config.subjects or []
    if subjects != [subject]:
        yield f"its subjects are {', '.join(subjects)}, not {subject} alone; choose another name"
    if config.retention not in (None, "limits") or config.discard not in (None, "old"):
        yield f"its policies are {config.retention} and {config.discard}, not limits and old; delete it"
    if config.no_ack:
        yield "it does not acknowledge (no_ack); delete it"
    if not config.allow_direct:
        yield "it has no direct access; nats stream edit --allow-direct"
    for name, value, least in (
        ("max_age", config.max_age, SHORTEST_SECONDS),
        ("max_bytes", config.max_bytes, LIVE_BYTES),
        ("max_msg_size", config.max_msg_size, PAYLOAD_BYTES),
        ("max_msgs", config.max_msgs, BRIDGED_MESSAGES),
        ("max_msgs_per_subject", config.max_msgs_per_subject, BRIDGED_MESSAGES),
    ):
        if value is not None and 0 < value < least:
            yield f"its {name} is {value:g}; {least:g} or more is needed"


def _not_enabled(connection: NatsConnection) -> str:
    return (
        f"NATS at {connection.address} has no JetStream for this account; "
        "start nats-server with -js, or leave out ?stream="
    )


def _reason(error: Exception) -> str:
    return getattr(error, "description", None) or str(error).removeprefix("nats: ") or type(error).__name__
