"""NATS behind a fault proxy: a stream without some of its messages, as a broker may lose them."""

from __future__ import annotations

from faults.links import Transform

_END = b"\r\n"


class WithoutMessages:
    """Removes every n-th message of some subjects while `every` is not 0; a `transform_down` for a proxy.

    NATS core delivers a message at most once: a full buffer of a client, a route or a server loses it.
    """

    def __init__(self, suffix: str, *, every: int = 0) -> None:
        self.suffix = suffix
        """How the subjects end whose messages are removed."""
        self.every = every
        self.seen = self.dropped = 0

    def __call__(self) -> Transform:
        """Return the filter of one connection."""
        return _Stream(self).take

    def drops(self, subject: str) -> bool:
        """Return whether the next message of a subject is lost."""
        if not self.every or not subject.endswith(self.suffix):
            return False
        self.seen += 1
        is_lost = self.seen % self.every == 0
        self.dropped += is_lost
        return is_lost


class _Stream:
    """What one server sends (a line, and after `MSG` a payload of a known size), in pieces of any size.

    https://docs.nats.io/reference/reference-protocols/nats-protocol#msg
    """

    def __init__(self, without: WithoutMessages) -> None:
        self._without = without
        self._line = b""
        self._left = 0
        """Remaining bytes of the current payload and its end."""
        self._drops = False

    def take(self, data: bytes) -> bytes:
        """Return the bytes of the next piece to pass on."""
        data, self._line = self._line + data, b""
        at, passed = 0, list[bytes]()
        while at < len(data):
            if not self._left:
                end = data.find(_END, at) + len(_END)
                if end < at + len(_END):
                    self._line = data[at:]
                    break
                self._begin(data[at:end])
            else:
                end = min(at + self._left, len(data))
                self._left -= end - at
            if not self._drops:
                passed.append(data[at:end])
            self._drops = self._drops and self._left > 0
            at = end
        return b"".join(passed)

    def _begin(self, line: bytes) -> None:
        """Read a line of the protocol: `MSG <subject> <sid> [reply-to] <#bytes>`, or `HMSG` with headers."""
        words = line.decode("latin-1").split()
        if words and words[0].upper() in {"MSG", "HMSG"}:
            self._left = int(words[-1]) + len(_END)
            self._drops = self._without.drops(words[1])
