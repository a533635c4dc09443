"""NDCG@10 of every way to keep up, block by block, of one result of `through_time.py`, as an SVG.

python scripts/bench/through_time_plot.py results/through-time.svg results/through-time-uci-online-retail.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

WORDS = {
    "F": "F: fitted once, left alone",
    "U": "U: counts renewed",
    "D": "D: U and the drift adapter",
    "R": "R: fitted anew",
    "E": "E: EASE, fitted anew every block",
    "P": "popularity",
    "P recent": "recent popularity",
}
STYLES = {"P": ":", "P recent": ":", "E": "--"}
PANELS = ("known", "newcomers, K=3 and 5")
SMOOTHED = 3
"""Blocks that are averaged, weighted by their tasks: one week of newcomers is noise."""


def smooth(values: np.ndarray, tasks: np.ndarray) -> np.ndarray:
    """Each block with its neighbours."""
    window = np.ones(SMOOTHED)
    smoothed: np.ndarray = np.convolve(values * tasks, window, "same") / np.convolve(tasks, window, "same")
    return smoothed


def panel(axes: Any, group: dict[str, Any], title: str) -> None:
    """One group of users."""
    blocks = group["blocks"]
    numbers = [int(number) for number in blocks]
    tasks = np.array([block["tasks"] for block in blocks.values()], dtype=float)
    for way in (way for way in WORDS if way in group["NDCG@10"]):
        line = smooth(np.array([block[way] for block in blocks.values()]), tasks)
        label = f"{WORDS[way]}, {group['NDCG@10'][way]:.3f}"
        axes.plot(numbers, line, STYLES.get(way, "-"), lw=1.2, label=label)
    axes.set_title(f"{title}: {group['tasks']:,} tasks of {group['users']:,} users", fontsize=10)
    axes.set_xlabel("block after the cut")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7, frameon=False)


def main() -> None:
    """Draw."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "recllm"
    from matplotlib import pyplot

    target, source = map(Path, sys.argv[1:])
    result = json.loads(source.read_text(encoding="utf-8"))
    names = [name for name in PANELS if name in result["groups"]]
    figure, axes = pyplot.subplots(1, len(names), figsize=(6 * len(names), 4.2), squeeze=False)
    for one, name in zip(axes[0], names, strict=True):
        panel(one, result["groups"][name], name)
    axes[0][0].set_ylabel(f"NDCG@10, mean of {SMOOTHED} blocks")
    figure.suptitle(f"{result['data']}, {result['part']}: blocks of {result['blocks of days']:g} days", fontsize=11)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
