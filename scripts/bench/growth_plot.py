"""Seconds computed per event or item as data grow, of one result of `growth.py`: a table, and an SVG.

python scripts/bench/growth_plot.py results/growth.svg results/growth.json
"""

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

STEPS = {
    "read and clean": "events",
    "divide": "events",
    "histories": "events",
    "count at once": "events",
    "count part by part": "events",
    "channels": "items",
    "head": "items",
    "lists of 256 users": "items",
}
"""What is done, and with what it grows: the lists are of as many users at every size."""


def work_of(result: dict[str, Any], step: str) -> float:
    """Seconds of a step, which may be a stage of the fit."""
    return float(result["work"].get(step, result["seconds by stage"].get(step, np.nan)))


def main() -> None:
    """Print and draw."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "recllm"
    from matplotlib import pyplot

    target, source = map(Path, sys.argv[1:])
    results = json.loads(source.read_text(encoding="utf-8"))
    sizes = np.array([one["events"] for one in results], dtype=float)
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    print("| step | grows with | " + " | ".join(f"{one['events']:,}" for one in results) + " | exponent |")
    print("|---|---|" + "---|" * (len(results) + 1))
    for step, unit in STEPS.items():
        seconds = np.array([work_of(one, step) for one in results])
        counts = np.array([one[unit] for one in results], dtype=float)
        slopes = [
            np.log(b / a) / np.log(m / n) for (a, b), (n, m) in zip(pairwise(seconds), pairwise(counts), strict=True)
        ]
        cells = " | ".join(f"{value:.2f} s" for value in seconds)
        print(f"| {step} | {unit} | {cells} | {', '.join(f'{slope:.2f}' for slope in slopes)} |")
        axes.plot(sizes, 1e6 * seconds / counts, "o-", lw=1.2, ms=3, label=f"{step}, per {unit[:-1]}")
    log = np.log(sizes) / np.log(sizes[0])
    axes.plot(sizes, 10 * log, "k--", lw=1, label="n log n")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("events; users and items grow with them")
    axes.set_ylabel("microseconds")
    axes.legend(fontsize=7, frameon=False, ncols=2)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
