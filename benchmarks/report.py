"""Report: the tables and plots of `docs/benchmarks.md`, the tables of `docs/guides/scaling.md`.

`python -m benchmarks.report [--check] [--plots]`
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from benchmarks.fanout.table import OURS, median, table
from benchmarks.machine import RESULTS, ROOT
from benchmarks.sizing.tables import tables

PAGE = ROOT / "docs" / "benchmarks.md"
SCALING = ROOT / "docs" / "guides" / "scaling.md"
PLOTS = ROOT / "docs" / "benchmarks"
_BURSTS = "1,000 clients, 10 at a time"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def main() -> int:
    """Write the page, or report whether it is up to date with the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if the page is out of date"
    )
    parser.add_argument("--plots", action="store_true", help="draw the plots too; needs matplotlib")
    options = parser.parse_args()
    old = 0
    for path, parts in ((PAGE, _all), (SCALING, _sizing)):
        page = path.read_text("utf-8")
        wanted = rendered(page, parts())
        if not options.check:
            path.write_text(wanted, "utf-8")
        elif page != wanted:
            print(f"{path.name} is out of date; run python -m benchmarks.report", file=sys.stderr)
            old = 1
    if options.plots:
        from benchmarks.plots import draw, draw_growth

        for load, found in _result("fanout").get("runs", {}).items():
            draw(PLOTS / f"{slug(load)}.png", load, found)
        if series := _result("growth").get("series"):
            draw_growth(PLOTS / "growth.png", series)
    return old


def rendered(page: str, parts: list[str]) -> str:
    """A page, with the results between its marks."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{tail}"


def _all() -> list[str]:
    return [
        *_fanout(),
        *_workers(),
        *_figures("storm", "Reconnect storm"),
        *_figures("log", "The log"),
        *_growth(),
        *_figures("latency", "Latency from the answer to a commit, one at a time"),
        *_figures("browser", "Burst in the browser"),
    ]


def _sizing() -> list[str]:
    recorded = {name: _result(name) for name in ("fanout", "storm", "edges")}
    return tables(_result("sizing"), recorded)


def slug(load: str) -> str:
    """A load as the name of a file."""
    return "-".join(load.replace(",", "").split())


def _result(name: str) -> dict[str, Any]:
    path = RESULTS / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return found


def _fanout() -> list[str]:
    result = _result("fanout")
    if not result:
        return []
    parts = ["## Fan-out", f"Medians of {result['rounds']} rounds. {_where(result)}"]
    for load, found in result["runs"].items():
        parts += [f"### {load}", f"![{load}](benchmarks/{slug(load)}.png)", table(found)]
    missing = [f"- {name}: {why} is missing" for name, why in result["not run"].items()]
    return parts + (["Not run:", "\n".join(missing)] if missing else [])


def _workers() -> list[str]:
    result = _result("workers")
    if not result:
        return []
    one, two = result["messages_per_s"]
    sentence = (
        f"{result['load']}; PostgreSQL, workers and clients on the same cores: {one:,.0f} messages/s with "
        f"one worker, {two:,.0f} with two, {result['ratio']:.2f} times as many."
    )
    return ["## Workers", f"{_where(result)}", sentence, *_workers_apart()]


def _workers_apart() -> list[str]:
    """Return what two workers would send if PostgreSQL and the clients did not use their cores."""
    found = _result("fanout").get("runs", {}).get(_BURSTS, {}).get(OURS)
    if not found:
        return []
    per_core = 1e6 / (median(found, "user_us") + median(found, "system_us"))
    sentence = (
        "**Estimated**, not measured, for two workers with a core each, and PostgreSQL and the clients on "
        f"others: {2 * per_core:,.0f} messages/s, twice what the processor time of a message leaves one core "
        f"in the fan-out above ({_BURSTS}), {per_core:,.0f}."
    )
    return [sentence]


def _figures(name: str, title: str) -> list[str]:
    result = _result(name)
    if not result:
        return []
    rows = [f"| {what} | {value:,.2f} |" for what, value in result["medians"].items()]
    return [f"## {title}", _where(result), "\n".join(["| what | median |", "|---|---:|", *rows])]


def _growth() -> list[str]:
    result = _result("growth")
    if not result:
        return []
    rows = [
        f"| {name} | {int(size):,} | {_figure(value)} |"
        for name, figures in result["series"].items()
        for size, value in figures.items()
    ]
    return [
        "## Growth: channels, subscribers and history",
        f"{_where(result)} A line that stays level costs the same at every size.",
        "![Growth](benchmarks/growth.png)",
        "\n".join(["| what | size | median |", "|---|---:|---:|", *rows]),
    ]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:,.2f}"


def _where(result: dict[str, Any]) -> str:
    return f"Commit `{result['commit']}`, {result['machine']}."


if __name__ == "__main__":
    sys.exit(main())
