"""Plots: the figures of a run as a picture. It needs matplotlib, which comes with the peers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl

from benchmarks.fanout.table import OURS, SPEED, Figures, median

mpl.use("agg")

from matplotlib import pyplot as plt  # it looks at once for a screen
from matplotlib.ticker import NullFormatter

INK, US, THEM, FLOOR = "#1f2933", "#2563eb", "#b6c2cf", "#e3e8ee"


def draw(path: Path, title: str, found: Mapping[str, Mapping[str, Figures]]) -> None:
    """Messages per second of each server as bars, from the slowest round to the fastest as a line."""
    names = sorted(found, key=lambda name: median(found[name], SPEED))
    speeds = [median(found[name], SPEED) for name in names]
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(names) + 1), layout="constrained")
    axes.barh(names, speeds, color=[_color(name) for name in names], height=0.7)
    for row, name in enumerate(names):
        values = [figures[SPEED] for figures in found[name].values()]
        axes.plot([min(values), max(values)], [row, row], color=INK, linewidth=1)
        axes.text(max(values), row, f"  {speeds[row]:,.0f}", va="center", color=INK, fontsize=9)
    axes.set_title(f"Messages per second, {title}", loc="left", color=INK, fontsize=11)
    axes.set_xlim(right=1.16 * max(max(f[SPEED] for f in rounds.values()) for rounds in found.values()))
    axes.xaxis.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_growth(path: Path, series: Mapping[str, Mapping[str, float]]) -> None:
    """Each figure by its size, both axes logarithmic: level is flat, and a slope of one is linear."""
    rows = -(-len(series) // 2)
    figure, grid = plt.subplots(rows, 2, figsize=(9, 2.2 * rows), layout="constrained", squeeze=False)
    for axes, (name, figures) in zip(grid.flat, series.items(), strict=False):
        sizes, values = [int(size) for size in figures], list(figures.values())
        axes.loglog(sizes, values, color=US, marker="o", markersize=4)
        axes.set_title(name, loc="left", color=INK, fontsize=9)
        axes.set_ylim(min(values) / 3, max(values) * 3)
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelcolor=INK, labelsize=8)
    for axes in list(grid.flat)[len(series) :]:
        axes.set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _color(name: str) -> str:
    if name.startswith(OURS):
        return US
    return FLOOR if name.startswith("C ") else THEM
