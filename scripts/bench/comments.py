"""What people wrote: lists with and without comments, for users nobody was trained on, and for items nobody has taken.

python scripts/bench/comments.py amazon-digital-music-2014

NDCG@10 and Recall@20 by events known, comments read (`TextEncoderConfig.comments` as it is by default) against none,
both fitted on the same users with the same seeds; differences paired by user with 95 % intervals.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import recllm

DATA = Path(os.environ.get("RECLLM_DATA", "../shared/data"))
RESULTS = Path(__file__).parent / "results"
SHOTS = (0, 1, 3, 5)
ON, OFF = "with comments", "without"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    folder = DATA / asked.dataset
    catalog = recllm.Catalog.read(folder / "items.csv.gz")
    events = recllm.Interactions.read(folder / "interactions.csv.gz")
    config = recllm.RecommenderConfig(adaptation=None)
    without = replace(config, text=replace(config.text, comments=0))
    result: dict[str, Any] = {"dataset": asked.dataset, "seeds": asked.seeds}
    for protocol in ("users", "cold"):
        report = recllm.evaluate(
            {ON: config, OFF: without}, catalog, events, protocol=protocol, shots=SHOTS,
            seeds=range(asked.seeds), baselines=["popularity"], dataset=asked.dataset,
        )  # fmt: skip
        figures = report.figures
        for place in figures.places:
            for shots in figures.shots(place):
                for metric in ("NDCG@10", "Recall@20"):
                    on, off = (figures.estimate(place, name, shots, metric) for name in (ON, OFF))
                    found = figures.comparison(place, ON, OFF, shots, metric).difference
                    line = [on.value, off.value, found.value, found.low, found.high, found.n]
                    result.setdefault(place.protocol, {}).setdefault(metric, {})[shots] = line
                    print(f"{place.protocol:28} K={shots} {metric:10}" + "".join(f"{value:10.4f}" for value in line))
        (RESULTS / f"comments-{asked.dataset}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
