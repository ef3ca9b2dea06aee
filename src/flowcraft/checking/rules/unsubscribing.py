"""Rules of effects: what `subscribe` returns is called when the component goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from flowcraft.checking.facts import Facts, Subscription
from flowcraft.checking.findings import Fault


def effect_returns_it(facts: Facts) -> Iterator[Fault]:
    for one in _subscriptions(facts, "effect"):
        if one.fate == "dropped":
            yield Fault(
                one.place,
                f"this effect throws away the `unsubscribe` that {one.how}(...) returns, so the "
                "subscription "
                "outlives the component; return it: `useEffect(() => subscribe(…), […])`",
            )


def cleanup_calls_it(facts: Facts) -> Iterator[Fault]:
    for one in _subscriptions(facts, "effect"):
        if one.fate == "kept":
            yield Fault(
                one.place,
                f"the effect keeps {one.variable} and does not call it on unmount; "
                f"return it, or a cleanup that calls it: `return () => {one.variable}()`",
            )


def effect_is_not_async(facts: Facts) -> Iterator[Fault]:
    for one in _subscriptions(facts, "effect"):
        if one.effect is not None and one.effect.is_async:
            yield Fault(
                one.effect.place,
                "an async effect returns a promise, which React does not call on unmount, so the "
                "subscription "
                "never ends; subscribe in an effect that is not async",
            )


def effect_has_dependencies(facts: Facts) -> Iterator[Fault]:
    for one in _subscriptions(facts, "effect"):
        if one.effect is not None and not one.effect.dependencies:
            yield Fault(
                one.effect.place,
                "this effect has no list of dependencies, so it subscribes anew with every render; "
                "add one, such as `[subscribe]`",
            )


def not_while_rendering(facts: Facts) -> Iterator[Fault]:
    for one in _subscriptions(facts, "render"):
        if one.direct:
            yield Fault(
                one.place,
                "subscribe(...) is called while rendering, so every render subscribes once more; "
                "put it into an effect, or use useChannel(…)",
            )


def function_hands_it_on(facts: Facts) -> Iterator[Fault]:
    for one in _subscriptions(facts, "function"):
        if one.fate in ("dropped", "kept"):
            what = "throws away" if one.fate == "dropped" else f"keeps {one.variable} and never uses"
            yield Fault(
                one.place,
                f"this function {what} the `unsubscribe` that {one.how}(...) returns, so nobody can "
                "end the "
                "subscription; return it to the caller",
            )


def _subscriptions(facts: Facts, context: Literal["effect", "render", "function"]) -> Iterator[Subscription]:
    for subscription in facts.web.subscriptions if facts.web else ():
        if subscription.context == context:
            yield subscription
