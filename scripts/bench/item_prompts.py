"""Item prompts chosen by racing, against the shipped one of the domain and against what a guess would get.

    RECLLM_DATA=… python scripts/bench/item_prompts.py ml-100k … --seeds 0 1 2 --values FOLDER

Each catalog and seed is a race of its own: half of the users choose, the other half report; users of `test_users.txt`
take no part. `selected` is what `optimize` says to use (the shipped prompt where nothing is surely better), `leader`
the arm that won, `mean` the mean of all arms: what somebody's own idea of a prompt would get. One JSON a race, a table.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import recllm
from recllm.tuning.optimize import optimize_items


def catalog_of(name: str) -> tuple[recllm.Catalog, recllm.Interactions]:
    """A data set without the users that figures are reported for elsewhere."""
    folder = Path(os.environ["RECLLM_DATA"]) / name
    events = recllm.Interactions.read(folder / "interactions.csv.gz")
    test = folder / "test_users.txt"
    if test.is_file():
        events = events.without_users(test.read_text(encoding="utf-8").split())
    return recllm.Catalog.read(folder / "items.csv.gz"), events


def raced(name: str, seed: int) -> dict[str, Any]:
    """One race as plain data."""
    catalog, events = catalog_of(name)
    begin = time.monotonic()
    result = optimize_items(catalog, events, options=recllm.TrainOptions(seed=seed, device="cpu"))
    mean = result.over_mean
    over = {"value": mean.value, "low": mean.low, "high": mean.high, "n": mean.n}
    return {"set": name, "seconds": round(time.monotonic() - begin, 1), "over_mean": over, **result.to_dict()}


def table(races: list[dict[str, Any]]) -> str:
    """A line a catalog, seeds pooled: gains in per cent with their intervals."""
    heads = (
        "catalog",
        "users",
        "arms",
        "selected - shipped",
        "leader - shipped",
        "leader - mean arm",
        "kept",
        "leaders",
    )
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for name in dict.fromkeys(race["set"] for race in races):
        mine = [race for race in races if race["set"] == name]
        nothing = {"value": 0.0, "low": 0.0, "high": 0.0}
        gains = [
            [nothing if race["kept"] else race["gain"] for race in mine],
            [race["gain"] for race in mine],
            [race["over_mean"] for race in mine],
        ]
        cells = [name, str(mine[0]["gain"]["n"]), str(mine[0]["facts"]["arms"]), *map(_pooled, gains)]
        leaders = "; ".join(dict.fromkeys(race["leader_layout"] for race in mine))
        lines.append(
            "| " + " | ".join([*cells, f"{sum(race['kept'] for race in mine)} of {len(mine)}", leaders]) + " |"
        )
    return "\n".join(lines)


def _short(race: dict[str, Any]) -> dict[str, Any]:
    """A race with a line an arm: layout, tokens, value in each round."""
    arms = [[arm["layout"], arm["tokens"], *(round(lap["value"], 4) for lap in arm["rounds"])] for arm in race["arms"]]
    return race | {"arms": arms}


def _pooled(gains: list[dict[str, float]]) -> str:
    """The mean over seeds; its interval as wide as one seed's, since seeds share their users."""
    value = float(np.mean([gain["value"] for gain in gains]))
    half = float(np.mean([(gain["high"] - gain["low"]) / 2 for gain in gains]))
    return f"{value:+.1%} [{value - half:+.1%}, {value + half:+.1%}]"


def main() -> None:
    """Race what is not raced yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--values", type=Path, required=True, help="where each race is kept")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="all races in one JSON file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.values.mkdir(parents=True, exist_ok=True)
    for name in options.names:
        for seed in options.seeds:
            place = options.values / f"{name}-{seed}.json"
            if not place.exists():
                place.write_text(json.dumps(raced(name, seed), indent=1, ensure_ascii=False), encoding="utf-8")
                print(name, seed, json.loads(place.read_text(encoding="utf-8"))["verdict"], flush=True)
    races = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(options.values.glob("*.json"))]
    print(table(races))
    if options.out is not None:
        lines = [json.dumps(_short(race), ensure_ascii=False) for race in races]
        options.out.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
