"""D − A against the number of known events, one line per result of `adapters.py`, as an SVG.

python scripts/bench/adapters_plot.py results/adapters.svg results/adapters-*.json
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Draw."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "recllm"
    from matplotlib import pyplot

    target, *sources = map(Path, sys.argv[1:])
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for number, source in enumerate(sources):
        result = json.loads(source.read_text(encoding="utf-8"))
        figures = result["methods"]["default"]
        shots = [int(key) for key in figures if key.isdigit()]
        lines = [figures[str(k)]["D - A, % of A"] for k in shots]
        places = [place + 0.08 * (number - len(sources) / 2) for place in range(len(shots))]
        mean = [line[0] for line in lines]
        below, above = (
            [m - line[1] for m, line in zip(mean, lines, strict=True)],
            [line[2] - m for m, line in zip(mean, lines, strict=True)],
        )
        label = f"{result['data']}, {result['training users']} users, {figures['all']['open']:.0%} of gates open"
        axes.errorbar(places, mean, yerr=[below, above], fmt="o-", ms=3, capsize=2, lw=1, label=label)
        axes.set_xticks(range(len(shots)), [str(k) for k in shots])
    axes.axhline(0, color="black", lw=0.8)
    axes.set_xlabel("events known of the user")
    axes.set_ylabel("D − A, % of A's NDCG@10, 95 % intervals")
    axes.set_title("What a user's own adapter adds to the base")
    axes.legend(fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


if __name__ == "__main__":
    main()
