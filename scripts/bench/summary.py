"""Prints what `recllm evaluate --json` wrote as tables, and keeps the part of it that is worth keeping.

    python scripts/bench/summary.py report.json [--metric Recall@200 …] [--keep results/x.json]

A file that was kept can be printed again.
"""

import argparse
import json
from pathlib import Path
from typing import Any

KEPT = ("NDCG@10", "Recall@200", "Coverage@10", "ms per user")

Figures = dict[str, dict[str, dict[str, dict[str, list[float | None]]]]]


def rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def figures_of(rows: list[dict[str, Any]]) -> Figures:
    """Protocol -> metric -> method -> K -> [value, lower, upper end of the 95 % interval]; pooled over folds, seeds."""
    pooled = any(row["fold"] is None for row in rows)
    found: Figures = {}
    for row in rows:
        if pooled and row["fold"] is not None:
            continue
        by_method = found.setdefault(row["protocol"], {}).setdefault(row["metric"], {})
        ends = [rounded(row[name]) for name in ("value", "ci_low", "ci_high")]
        by_method.setdefault(row["method"], {})[str(row["shots"])] = ends
    return found


def kept(report: dict[str, Any], figures: Figures) -> dict[str, Any]:
    """What is small and says enough: no command (it names this machine's folders), few metrics."""
    about = report["about"]
    dull = ("arms", "format")
    return {
        "title": report["title"],
        "headlines": report["headlines"],
        "square": report["square"],
        "versions": about["versions"],
        "data hash": about["data hash"],
        "splits": [{name: part for name, part in split.items() if name not in dull} for split in about["splits"]],
        "methods": about["methods"],
        "figures": {
            protocol: {metric: by for metric, by in metrics.items() if metric in KEPT}
            for protocol, metrics in figures.items()
        },
    }


def cell(ends: list[float | None] | None) -> str:
    if ends is None or ends[0] is None:
        return ""
    text = f"{ends[0]:.4f}" if abs(ends[0]) < 1 else f"{ends[0]:.3g}"
    return text if ends[1] is None or ends[2] is None else f"{text} [{ends[1]:.4f}, {ends[2]:.4f}]"


def main() -> None:
    """One table per protocol and metric: a row per method, a column per number of known events."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--metric", nargs="+", default=["NDCG@10"])
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    report = json.loads(arguments.report.read_text())
    figures = figures_of(report["rows"]) if "rows" in report else report["figures"]
    for protocol, metrics in figures.items():
        for metric in arguments.metric:
            by_method = metrics.get(metric, {})
            shots = sorted({k for line in by_method.values() for k in line}, key=int)
            print(f"\n{report['title']}, {protocol}, {metric}\n")
            print("| | " + " | ".join(f"K={k}" for k in shots) + " |\n|" + "---|" * (len(shots) + 1))
            for method, line in by_method.items():
                print(f"| {method} | " + " | ".join(cell(line.get(k)) for k in shots) + " |")
    for claim in [*report["headlines"], *report["square"]]:
        print(f"\n{claim['text']}")
    if arguments.keep is not None:
        arguments.keep.write_text(json.dumps(kept(report, figures), ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
