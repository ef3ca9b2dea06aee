"""The shared port: bound once, for several processes that listen on it side by side."""

from __future__ import annotations

import socket


class SharedPort:
    """A port that is bound with SO_REUSEPORT; each worker listens on sockets of its own.

    The kernel spreads connections over the sockets that listen. With port 0 it chooses a free one.

    Raises:
        OSError: the port is taken, or may not be used; or this system cannot share one.
    """

    def __init__(self, host: str, port: int) -> None:
        if not hasattr(socket, "SO_REUSEPORT"):
            raise OSError(
                "several workers need SO_REUSEPORT, which this system does not have; use one worker"
            )
        self._taken: list[socket.socket] = []
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                self._take(family, address)
        except OSError:
            self.close()
            raise

    def _take(self, family: int, address: tuple[object, ...]) -> None:
        host, port, *scope = address
        if self._taken:
            port = self._taken[0].getsockname()[1]  # the same port on every address
        # First without SO_REUSEPORT: with it, bind succeeds beside another program that shares the port too.
        with _bound(family, (host, port, *scope), shared=False) as alone:
            address = alone.getsockname()
        self._taken.append(_bound(family, address, shared=True))

    def sockets(self) -> list[socket.socket]:
        """Return new sockets, one for each address; they get no connections before they listen."""
        return [_bound(one.family, one.getsockname(), shared=True) for one in self._taken]

    @property
    def first(self) -> socket.socket:
        """The socket that holds the first address."""
        return self._taken[0]

    def close(self) -> None:
        """Release the port."""
        for one in self._taken:
            one.close()


def _bound(family: int, address: tuple[object, ...], *, shared: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except OSError:
        made.close()
        raise
    return made
