"""The dashboard, the alerts and the guide: what they name is what a server tells."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from flowcraft.adapters.prometheus import METRICS, exposition
from flowcraft.core.counts import Counts
from flowcraft.core.report import EdgeReport, TaskReport
from flowcraft.entrypoints.relay_pages import metrics_of
from flowcraft.entrypoints.relaying import RelayReport
from tests.support.reports import blank_report
from tests.support.scraping import Scrape

ROOT = Path(__file__).parents[2]
ADDED = {"job", "instance"}
"""By Prometheus itself."""
GUIDE = (ROOT / "docs/guides/monitoring.md").read_text()
RELAY = TaskReport("running", 0.0, 0, None)
COUNTS = Counts(skipped={"runs.{run_id}": {"payload_invalid": 1}})
EDGE = EdgeReport(True, 0.2, 0.1, 0, 1, 0, 0)
REPORT = blank_report(subscribers={"runs.{run_id}": 1}, tasks={"relay": RELAY}, counts=COUNTS, edge=EDGE)
PAGE_OF_RELAYS = metrics_of(
    RelayReport(
        relay="",
        state="leading",
        ready=True,
        edges=0,
        seconds_since_read=0,
        published=0,
        answered={"tail": 1},
    )
)
TOLD = Scrape(exposition([REPORT], by_process=True) + PAGE_OF_RELAYS)


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "deploy/grafana/flowcraft.json").read_text())
    return found


def strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for each in cast(dict[str, object], value).values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in cast(list[object], value):
            yield from strings(each)
    elif isinstance(value, str):
        yield value


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


QUERIES = [
    *(text for text in strings(dashboard()) if "flowcraft_" in text),
    *(rule["expr"] for rule in rules()),
]


OF_RELAYS = set(re.findall(r"^# TYPE (\w+)", PAGE_OF_RELAYS, re.MULTILINE)) - {
    "flowcraft_relay_lag_seconds"  # which servers have, too
}


def labels_of(name: str) -> dict[str, set[str]]:
    values: dict[str, set[str]] = {}
    for sample, labels in TOLD.values:
        if sample == name:
            for label, value in labels:
                values.setdefault(label, set()).add(value)
    return values


@pytest.mark.parametrize("query", QUERIES)
def test_every_metric_label_and_value_that_is_asked_for_is_told(query: str) -> None:
    names = re.findall(r"flowcraft_\w+", query)
    assert set(names) <= TOLD.names
    known = {label for name in names for label in labels_of(name)} | ADDED
    for group in re.findall(r"by \(([^)]*)\)", query):
        assert set(group.split(", ")) <= known
    for name, matchers in re.findall(r"(flowcraft_\w+)\{([^}]*)\}", query):
        for label, values in re.findall(r'(\w+)=~?"([^"$]*)"', matchers):
            assert set(values.split("|")) <= labels_of(name)[label]


def test_the_dashboard_asks_and_shows_every_metric_somewhere() -> None:
    asked = {name for query in QUERIES for name in re.findall(r"flowcraft_[a-z_]+", query)} - OF_RELAYS
    assert {re.sub("_(bucket|total)$", "", name) for name in asked} == {
        f"flowcraft_{metric.name}" for metric in METRICS
    }


def test_every_panel_has_a_place_of_its_own_and_says_what_it_shows() -> None:
    panels = dashboard()["panels"]
    places = [
        (x, y)
        for panel in panels
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(places) == len(set(places))
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["description"] for panel in panels if panel["type"] != "row")


def test_every_alert_says_what_to_do_and_is_explained() -> None:
    assert all(set(rule["annotations"]) == {"summary", "action"} for rule in rules())
    assert set(re.findall(r"^\| `(FlowCraft\w+)` \|", GUIDE, re.MULTILINE)) == {r["alert"] for r in rules()}


def test_the_table_of_the_guide_is_what_is_told() -> None:
    table = "\n".join(
        f"| `flowcraft_{m.name}{m.suffix}`{by} | {m.kind} | {m.meaning} |"
        for m in METRICS
        for by in [m.label and " by " + " and ".join(f"`{label}`" for label in m.label.split())]
    )
    told = GUIDE.split("| metric | kind | meaning |\n|---|---|---|\n")[1].split("\n\n")[0]
    assert told == table
