"""Users of whom nothing is known: what they are shown, beside what is popular and what has been popular of late.

    python scripts/bench/newcomers.py DATA [DATA …] [--budget 60s] [--out scripts/bench/results/newcomers.json]

Each DATA is a folder with items and interactions. Asked are the users of its test_users.txt or else a fifth, by
`recllm.evaluate(protocol="users", shots=(0,))`; both baselines are tuned on validation users. Relative differences come
with 95 % intervals of a paired bootstrap over users. What the library chooses, it chooses without the test users.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import recllm

BASELINES = ("popularity", "recent popularity")
METRIC = "NDCG@10"


def measure(folder: Path, budget: str | None) -> dict[str, Any]:
    """K = 0 on one data set."""
    catalog = recllm.Catalog.read(folder / "items.csv.gz")
    events = recllm.Interactions.read(folder / "interactions.csv.gz")
    fixed = folder / "test_users.txt"
    users = fixed.read_text(encoding="utf-8").split() if fixed.exists() else None
    # Whoever is asked nothing is known of, so adapters do nothing.
    report = recllm.evaluate(
        recllm.RecommenderConfig(adaptation=None),
        catalog,
        events,
        shots=(0,),
        baselines=BASELINES,
        test_users=users,
        dataset=folder.name,
        options=recllm.TrainOptions(budget=budget),
    )
    frame = report.to_pandas()
    values = frame[frame.metric == METRIC].set_index("method")
    found: dict[str, Any] = {"dataset": folder.name, "users": int(values.loc["recllm", "n_users"])}
    found |= {name: float(values.loc[name, "value"]) for name in ("recllm", *BASELINES)}
    for name in BASELINES:
        (pair,) = report.compare("recllm", name, METRIC)
        # Where some resample of the users has none whom the baseline serves, the ratio has no interval.
        ratio = pair.ratio if np.isfinite(pair.ratio.low) else pair.difference
        scale = 1.0 if ratio is pair.ratio else found[name]
        found[f"against {name}"] = {end: getattr(ratio, end) / scale for end in ("value", "low", "high")}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--budget", default="60s")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "newcomers.json")
    arguments = parser.parse_args()
    kept = json.loads(arguments.out.read_text(encoding="utf-8")) if arguments.out.exists() else []
    for folder in arguments.data:
        found = measure(folder, arguments.budget) | {"budget": arguments.budget}
        kept = [one for one in kept if one["dataset"] != folder.name] + [found]
        print(line(found), flush=True)
        arguments.out.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def line(found: dict[str, Any]) -> str:
    """A data set's figures in one line."""
    parts = [f"{found['dataset']}, {found['users']} users: recllm {found['recllm']:.4f}"]
    for name in BASELINES:
        ratio = found[f"against {name}"]
        parts.append(f"{name} {found[name]:.4f} ({ratio['value']:+.1%} [{ratio['low']:+.1%}, {ratio['high']:+.1%}])")
    return " · ".join(parts)


if __name__ == "__main__":
    main()
