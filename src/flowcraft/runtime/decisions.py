"""Decisions: check tokens and call guards in a task that does not refer to the connection."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from flowcraft.core.session_effects import GuardQuestion
from flowcraft.errors import RealtimeError, TokenInvalid
from flowcraft.ports import Authorizer, RequestAuthorizer
from flowcraft.runtime.isolation import is_stopping
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.viewers import Handshake, Viewer

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

    async def ask() -> Viewer:
        if authorizer is None:
            raise TokenInvalid("the server has no authorizer")
        return await authorizer.authenticate(token)

    return await outcome_of(ask)


async def authenticate_request(
    authorizer: RequestAuthorizer, handshake: Callable[[], Handshake]
) -> Viewer | BaseException | None:
    """Return the viewer that a request proves, or None; or what the authorizer raised, as `authenticate`."""

    async def ask() -> Viewer | None:
        viewer = cast(object, await authorizer.authenticate_request(handshake()))
        if viewer is None or isinstance(viewer, Viewer):
            return viewer
        raise TypeError(f"authenticate_request returned {type(viewer).__name__}; expected a Viewer or None")

    return await outcome_of(ask)


async def outcome_of(ask: Callable[[], Awaitable[A]]) -> A | BaseException:
    """Return what is answered or raised: an application's SystemExit would end the server."""
    try:
        return await ask()
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and is_stopping():
            raise
        return error


class Guards:
    """Asks guards, a few of one connection at a time; one that does not answer in time refuses."""

    def __init__(self, supervisor: Supervisor, *, seconds: float, at_once: int) -> None:
        self._supervisor = supervisor
        self._seconds = seconds
        self._at_once = at_once

    async def ask(self, viewer: Viewer, questions: tuple[GuardQuestion, ...]) -> frozenset[str]:
        """Return the names of the channels that a viewer may subscribe to.

        What the guards have begun is cancelled with this call.
        """
        allowed: set[str] = set()
        turns = asyncio.Semaphore(self._at_once)

        async def ask(question: GuardQuestion) -> None:
            async with turns:
                if await self._is_allowed(viewer, question):
                    allowed.add(question.name)

        # Not by a task group: of one that is cancelled, a reference cycle keeps this frame and its callers.
        await asyncio.gather(*map(ask, questions))
        return frozenset(allowed)

    async def _is_allowed(self, viewer: Viewer, question: GuardQuestion) -> bool:
        answer = _call(viewer, question)
        if not inspect.isawaitable(answer):
            return _is_true(answer, question)
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        # A task of the supervisor's: a guard that ignores its cancellation must not be waited for here.
        cancel = self._supervisor.spawn(_await(answer, question, answered), "guard")
        try:
            async with asyncio.timeout(self._seconds):
                return await answered
        except TimeoutError:
            name = question.declaration.name
            logger.warning("the guard of %s did not answer within %g s; refused", name, self._seconds)
            return False
        finally:
            cancel()


def _call(viewer: Viewer, question: GuardQuestion) -> object:
    guard = question.declaration.guard
    assert guard is not None
    arguments = () if question.declaration.parameter is None else (question.value,)
    try:
        return guard(viewer, *arguments)
    except RealtimeError:
        return False
    except BaseException as error:  # noqa: BLE001  # an application's SystemExit would end the server
        _report(question, error)
        return False


async def _await(answer: Awaitable[object], question: GuardQuestion, answered: asyncio.Future[bool]) -> None:
    allowed = False
    try:
        allowed = _is_true(await answer, question)
    except RealtimeError:
        pass
    except BaseException as error:  # an application's SystemExit would end the server
        if isinstance(error, asyncio.CancelledError) and is_stopping():
            raise
        _report(question, error)
    if not answered.done():
        answered.set_result(allowed)


def _is_true(answer: object, question: GuardQuestion) -> bool:
    """Return whether a guard allows: only True does. One that returns a row, or nothing, is a mistake."""
    if not isinstance(answer, bool):
        if inspect.iscoroutine(answer):
            answer.close()
        kind, name = type(answer).__name__, question.declaration.name
        logger.error("the guard of %s returned %s; refused: only True allows", name, kind)
    return answer is True


def _report(question: GuardQuestion, error: BaseException) -> None:
    name = question.declaration.name
    logger.error("the guard of %s raised; its viewer is refused", name, exc_info=error)
