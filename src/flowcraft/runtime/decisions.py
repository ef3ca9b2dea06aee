"""Decisions: check tokens and call guards in a task that does not refer to the connection."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from flowcraft.core.session import GuardQuestion
from flowcraft.errors import RealtimeError, TokenInvalid
from flowcraft.ports import Authorizer
from flowcraft.runtime.isolation import is_stopping
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.viewers import Viewer

logger = logging.getLogger(__name__)

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class _PendingDecision(Generic[A]):
    """The callbacks for an answer that is still needed."""

    answered: Callable[[A], None]
    failed: Callable[[BaseException], None]
    cancel: Callable[[], object]


class Decision(Generic[A]):
    """One pending decision. Its answer is passed to `answered`, unless the decision was dropped before.

    The task refers only to the decision, and a dropped decision refers to no connection: code that ignores
    its cancellation, or never returns, holds no memory of a client that is gone.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        name: str,
        ask: Callable[[], Awaitable[A]],
        answered: Callable[[A], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        cancel = supervisor.spawn(self._wait(ask), name)
        self._pending: _PendingDecision[A] | None = _PendingDecision(answered, failed, cancel)

    def drop(self) -> None:
        """Cancel the decision; a no-op once it has an answer."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()

    async def _wait(self, ask: Callable[[], Awaitable[A]]) -> None:
        pending: _PendingDecision[A] | None = None
        try:
            answer = await ask()
            pending, self._pending = self._pending, None
            if pending is not None:
                pending.answered(answer)
        except (Exception, asyncio.CancelledError) as error:
            if is_stopping():
                raise
            pending, self._pending = pending or self._pending, None
            if pending is not None:
                pending.failed(error)


async def authenticate(authorizer: Authorizer | None, token: str) -> Viewer | BaseException:
    """Return the viewer that a token proves, or what the authorizer raised: `TokenInvalid` or a failure."""
    try:
        if authorizer is None:
            raise TokenInvalid
        return await authorizer.authenticate(token)
    except (Exception, asyncio.CancelledError) as error:
        if is_stopping():
            raise
        return error


async def ask_guards(viewer: Viewer, questions: tuple[GuardQuestion, ...]) -> frozenset[str]:
    """Return the names of the channels that a viewer may subscribe to."""
    return frozenset([q.name for q in questions if await _is_allowed(viewer, q)])


async def _is_allowed(viewer: Viewer, question: GuardQuestion) -> bool:
    guard = question.declaration.guard
    assert guard is not None
    arguments = () if question.declaration.parameter is None else (question.value,)
    try:
        answer = guard(viewer, *arguments)
        # Only True allows: a guard that returns a row, or nothing, must not open the channel.
        return (await answer if inspect.isawaitable(answer) else answer) is True
    except RealtimeError:
        return False
    except (Exception, asyncio.CancelledError):
        if is_stopping():
            raise
        logger.exception("the guard of %s raised; its viewer is refused", question.declaration.name)
        return False
