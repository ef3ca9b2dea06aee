"""State answers: pass the rows that were read to the hub, and what failed to the clients that asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flowcraft.core.hub_effects import Effect, SessionId
from flowcraft.core.states import State, StateRequest
from flowcraft.cursors import Cursor
from flowcraft.errors import LogUnavailable
from flowcraft.runtime.delivery import Delivery
from flowcraft.runtime.gateway import Gateway
from flowcraft.runtime.isolation import Isolation
from flowcraft.runtime.states import Answer


class StateAnswers:
    """Passes the answers of `States` on. A request with which the hub fails closes its connection."""

    def __init__(
        self,
        delivery: Delivery,
        gateways: Mapping[SessionId, Gateway],
        isolation: Isolation,
        reconnect: Callable[[SessionId], None],
    ) -> None:
        """`reconnect` drains one client: its rows cannot be read now, nor can the log."""
        self._delivery = delivery
        self._gateways = gateways
        self._isolation = isolation
        self._reconnect = reconnect

    def take(self, answers: Sequence[tuple[StateRequest, Answer]]) -> None:
        """Pass answers on in one step, so that each record is encoded once."""
        effects: list[Effect] = []
        for request, answer in answers:
            try:
                effects += self._answered(request, answer)
            except Exception as error:  # noqa: BLE001  # reported there
                name = self._isolation.connection(request.session)
                self._isolation.report("state", f"the rows of {request.channel} for {name}", error)
                gateway = self._gateways.get(request.session)
                if gateway is not None:
                    gateway.fail(error)
        self._delivery.perform(effects)

    def remembers(self, since: Cursor, channel: str) -> bool:
        """Return whether the hub has in memory what followed a cursor on a channel."""
        return self._delivery.subscriptions.remembers(since, channel)

    def _answered(self, request: StateRequest, answer: Answer) -> list[Effect]:
        subscriptions = self._delivery.subscriptions
        if isinstance(answer, State):
            return subscriptions.state_read(request, answer)
        if not subscriptions.state_failed(request):
            return []
        if isinstance(answer, LogUnavailable):
            self._reconnect(request.session)
        elif (gateway := self._gateways.get(request.session)) is not None:
            gateway.rows_failed(request.channel, answer, request.ref)
        return []
