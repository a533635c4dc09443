"""Prints a result of few_shot.py as a table: `python scripts/bench/summary.py results/x.json`."""

import json
import sys
from pathlib import Path


def main() -> None:
    """One row per method, one column per number of known events."""
    for name in sys.argv[1:]:
        result = json.loads(Path(name).read_text())
        rows = result["NDCG@10"]
        shots = list(next(iter(rows.values())))
        print(f"{result['dataset']}, {result['test users']} test users, fit {result['fit seconds']} s")
        print("| | " + " | ".join(f"K={k}" for k in shots) + " |\n|" + "---|" * (len(shots) + 1))
        for method, figures in rows.items():
            signed = "+" if method == "adapt gain" else ""
            cells = [f"{mean:{signed}.4f} [{low:.4f}, {high:.4f}]" for mean, low, high in figures.values()]
            print(f"| {method} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
