"""Prints what `recllm evaluate --json` wrote as tables: `python scripts/bench/summary.py results/x.json [METRIC …]`."""

import json
import sys
from pathlib import Path
from typing import Any


def cell(row: dict[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return ""
    text = f"{row['value']:.4f}" if abs(row["value"]) < 1 else f"{row['value']:.3g}"
    return text if row["ci_low"] is None else f"{text} [{row['ci_low']:.4f}, {row['ci_high']:.4f}]"


def main() -> None:
    """One table per protocol and metric: a row per method, a column per number of known events."""
    path, *metrics = sys.argv[1:]
    report = json.loads(Path(path).read_text())
    pooled = any(row["fold"] is None for row in report["rows"])
    rows = [row for row in report["rows"] if not pooled or row["fold"] is None]
    for protocol in dict.fromkeys(row["protocol"] for row in rows):
        for metric in metrics or ["NDCG@10"]:
            here = [row for row in rows if (row["protocol"], row["metric"]) == (protocol, metric)]
            found = {(row["method"], row["shots"]): row for row in here}
            shots = sorted({k for _, k in found})
            print(f"\n{report['title']}, {protocol}, {metric}, {max((r['n_users'] for r in here), default=0)} users\n")
            print("| | " + " | ".join(f"K={k}" for k in shots) + " |\n|" + "---|" * (len(shots) + 1))
            for method in dict.fromkeys(name for name, _ in found):
                print(f"| {method} | " + " | ".join(cell(found.get((method, k))) for k in shots) + " |")
    for headline in report["headlines"]:
        print(f"\n{headline['text']}")
    for claim in report["square"]:
        print(claim["text"])


if __name__ == "__main__":
    main()
