"""What the grid of small shops says: cells as a table and a plot, differences with their intervals.

    python scripts/bench/shops_summary.py VALUES --out results/shops.json --plot results/shops.svg

A difference is paired over users and in per cent of A: of each catalog the mean over its cells, and then over catalogs,
each counting the same. Intervals: 2,000 resamples of cells, and of users within them.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHOTS = (0, 1, 3, 5, 10, 20)
ARMS = ("A", "P", "D", "shuffled", "global", "sum", "popularity", "recent popularity", "item-kNN", "EASE")
RIVALS = ARMS[6:]
DRAWS = 2000

Cell = dict[str, Any]


def read(folder: Path) -> list[Cell]:
    """All measured cells."""
    cells = []
    for place in sorted(folder.glob("*.npz")):
        with np.load(place) as saved:
            name, size, share, seed = place.stem.rsplit("-", 3)
            arms = {arm: saved[arm].astype(np.float64) for arm in ARMS}
            facts = json.loads(str(saved["facts"]))
        cells.append({"name": name, "size": size, "share": float(share), "seed": int(seed), "arms": arms, **facts})
    return cells


def known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over K = 1 … 20 of each user who has something to find."""
    found: NDArray[np.float64] = values[1:].mean(axis=0)
    return found[~np.isnan(found)]


def difference(cells: list[Cell], one: str, other: str, rng: np.random.Generator) -> dict[str, Any]:
    """Of two arms, in per cent of A: mean and interval, each catalog counting the same."""
    by_name: dict[str, list[tuple[NDArray[np.float64], float]]] = defaultdict(list)
    for cell in cells:
        gains = known(cell["arms"][one]) - known(cell["arms"][other])
        by_name[cell["name"]].append((gains, float(known(cell["arms"]["A"]).mean())))

    def relative(parts: list[tuple[float, float]]) -> float:
        return 100 * sum(gain for gain, _ in parts) / sum(base for _, base in parts)

    def drawn() -> float:
        found = []
        for parts in by_name.values():
            chosen = [parts[row] for row in rng.integers(0, len(parts), len(parts))]
            found.append(relative([(gains[rng.integers(0, len(gains), len(gains))].mean(), a) for gains, a in chosen]))
        return float(np.mean(found))

    low, high = np.percentile([drawn() for _ in range(DRAWS)], [2.5, 97.5])
    each = {name: relative([(gains.mean(), a) for gains, a in parts]) for name, parts in by_name.items()}
    return {
        "mean": round(float(np.mean(list(each.values()))), 1),
        "low": round(float(low), 1),
        "high": round(float(high), 1),
        "each": {name: round(float(value), 1) for name, value in each.items()},
        "cells": len(cells),
    }


def best_rival(cell: Cell) -> str:
    """The baseline that is best there, as seen from the answers: a bound that none of them could be chosen to reach."""
    return max(RIVALS, key=lambda arm: known(cell["arms"][arm]).mean())


def summary(cells: list[Cell]) -> dict[str, Any]:
    """Everything that is told."""
    rng = np.random.default_rng(0)
    groups = {
        "users <= 100": [cell for cell in cells if cell["size"] in ("30", "100")],
        "10 % of the events": [cell for cell in cells if cell["share"] == 0.1],
        "either": [cell for cell in cells if cell["size"] in ("30", "100") or cell["share"] == 0.1],
        "30 users": [cell for cell in cells if cell["size"] == "30"],
        "100 users": [cell for cell in cells if cell["size"] == "100"],
        "400 users": [cell for cell in cells if cell["size"] == "400"],
        "all users, all events": [cell for cell in cells if cell["size"] == "all" and cell["share"] == 1],
    }
    pairs = [("D", "A"), ("P", "A"), ("D", "P"), ("P", "shuffled"), ("P", "global"), ("P", "sum")]
    told: dict[str, Any] = {"cells": [], "groups": {}}
    for cell in cells:
        values = {arm: [round(float(np.nanmean(row)), 4) for row in cell["arms"][arm]] for arm in ARMS}
        rival = best_rival(cell)
        against = difference([cell], "D", rival, rng)
        about = {key: cell[key] for key in ("name", "size", "share", "seed", "users", "events", "asked")}
        seconds = {key: cell[key] for key in cell if key.startswith("seconds")}
        told["cells"].append(about | seconds | {"NDCG@10": values, "best rival": rival, "D - best rival": against})
    for group, members in groups.items():
        if members:
            told["groups"][group] = {f"{a} - {b}": difference(members, a, b, rng) for a, b in pairs}
    ahead = [cell["D - best rival"] for cell in told["cells"]]
    told["ahead of the best rival"] = {
        "share of cells": round(float(np.mean([one["mean"] > 0 for one in ahead])), 2),
        "cells whose lower end is above -5 %": round(float(np.mean([one["low"] > -5 for one in ahead])), 2),
    }
    return told


def show(told: dict[str, Any]) -> None:
    """As tables."""
    print("| shop | users | events | asked |", " | ".join(ARMS), "| D − best rival, % |")
    for cell in told["cells"]:
        means = [f"{np.mean(cell['NDCG@10'][arm][1:]):.4f}" for arm in ARMS]
        gap = cell["D - best rival"]
        place = f"{cell['name']} {cell['size']} × {cell['share']:g}"
        print(
            f"| {place} | {cell['users']} | {cell['events']} | {cell['asked']} |",
            " | ".join(means),
            f"| {gap['mean']:+} [{gap['low']}, {gap['high']}] {cell['best rival']} |",
        )
    for group, pairs in told["groups"].items():
        for pair, one in pairs.items():
            print(
                f"{group}: {pair} {one['mean']:+} % [{one['low']}, {one['high']}], {one['cells']} cells, {one['each']}"
            )
    print(told["ahead of the best rival"])


def plot(told: dict[str, Any], place: Path) -> None:
    """D and its rivals against A, cell by cell."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    names = sorted({cell["name"] for cell in told["cells"]})
    figure, axes = pyplot.subplots(1, len(names), figsize=(3.2 * len(names), 3.2), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        places: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for cell in told["cells"]:
            if cell["name"] == name:
                base = np.mean(cell["NDCG@10"]["A"][1:])
                for arm in ("P", "D", "global", "popularity", "EASE"):
                    label = f"{cell['size']}×{cell['share']:g}"
                    places[label][arm].append(float(np.mean(cell["NDCG@10"][arm][1:]) / base))
        for arm, mark in {"P": "o", "D": "s", "global": "x", "popularity": "^", "EASE": "v"}.items():
            axis.plot(range(len(places)), [np.mean(values[arm]) for values in places.values()], mark, label=arm)
        axis.axhline(1.0, color="grey", linewidth=0.8)
        axis.set_xticks(range(len(places)), list(places), rotation=90, fontsize=7)
        axis.set_title(name, fontsize=9)
    axes[0][0].set_ylabel("NDCG@10 in units of A")
    axes[0][0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(place)


def main() -> None:
    """Read, tell, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("values", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    told = summary(read(options.values))
    show(told)
    if options.out is not None:
        options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if options.plot is not None:
        plot(told, options.plot)


if __name__ == "__main__":
    main()
