"""LightGCN beside the other baselines: tuned on validation users, asked of the test users once.

    python scripts/bench/light_gcn.py ml-100k uci-online-retail [--baselines popularity EASE iALS LightGCN]

Adds to `scripts/bench/results/light_gcn.json`: NDCG@10 with its interval by K, chosen settings, seconds.
"""

import argparse
import json
import os
import time
from pathlib import Path

import recllm

DATA = Path(os.environ.get("RECLLM_DATA", "data"))
OUT = Path(__file__).parent / "results" / "light_gcn.json"
SHOTS = (1, 3, 5, 10, 20)


def measured(name: str, baselines: list[str]) -> dict[str, object]:
    """NDCG@10 of each baseline at each K on the test users of a data set."""
    folder = DATA / name
    catalog, events = (
        recllm.Catalog.read(folder / "items.csv.gz"),
        recllm.Interactions.read(folder / "interactions.csv.gz"),
    )
    users = (folder / "test_users.txt").read_text().split()
    found: dict[str, object] = {}
    for baseline in baselines:
        begin = time.monotonic()
        report = recllm.evaluate(
            None, catalog, events, test_users=users, shots=SHOTS, baselines=[baseline], dataset=name
        )
        frame = report.to_pandas().query("metric == 'NDCG@10'").set_index("shots")
        values = {
            str(k): [round(float(frame.loc[k, column]), 4) for column in ("value", "ci_low", "ci_high")] for k in SHOTS
        }
        about = report.about["methods"][baseline][0]
        found[baseline] = {"NDCG@10": values, "chosen": about["chosen"], "seconds": round(time.monotonic() - begin, 1)}
        line = "  ".join(f"{value[0]:.4f} [{value[1]:.3f}, {value[2]:.3f}]" for value in values.values())
        print(f"{name:20} {baseline:12} {line}  {found[baseline]['seconds']} s", flush=True)
    return found


def main() -> None:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--baselines", nargs="+", default=["popularity", "EASE", "iALS", "LightGCN"])
    options = parser.parse_args()
    for name in options.sets:
        kept = json.loads(OUT.read_text()) if OUT.exists() else {}
        kept[name] = kept.get(name, {}) | measured(name, options.baselines)
        OUT.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
