"""Planted worlds where causes stand in for each other, learned by the whole model: are the reasons the planted ones?

    scripts/bench/reasons_worlds.py --out results/reasons-worlds.json

Two tastes that share no item and no customer: 200 customers are learned from, and 200 others, with 1, 2, 3 and 5 known
events each, ask for their two best items. A reason is right if all that it cites is of the item's taste and the item's
place is worse without it; it should not be "weak" where the history improves the place.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import recllm

USERS, ITEMS, EVENTS, LISTED = 200, 30, 10, 2
KNOWN = (1, 2, 3, 5)
THINGS = ("mug", "bowl", "plate", "jug", "cup", "pan"), ("lamp", "lantern", "candle", "torch", "bulb", "shade")
LOOKS = ("red", "blue", "oak", "steel", "striped")


def world(kind: str) -> recllm.Catalog:
    """Thirty items of either taste; of `copies`, every three are near-copies."""
    rows = []
    for taste, things in enumerate(THINGS):
        names = [f"{look} {thing}" for thing in things for look in LOOKS]
        if kind == "copies":
            names = [f"{names[number // 3]}, size {number % 3}" for number in range(ITEMS)]
        categories = ("Kitchen", "Light")[taste]
        rows += [(f"{taste}-{number}", name, categories) for number, name in enumerate(names)]
    return recllm.Catalog.from_frame(pl.DataFrame(rows, ["item_id", "title", "categories"], orient="row"))


def customers(name: str, events: int, seed: int) -> list[tuple[str, str, int, str]]:
    """Everybody buys of one taste; items are popular by their number."""
    rng = np.random.default_rng(seed)
    weights = 1.0 / (2 + np.arange(ITEMS))
    rows = []
    for user in range(USERS):
        items = rng.choice(ITEMS, events, replace=False, p=weights / weights.sum())
        rows += [(f"{name}{user}", f"{user % 2}-{item}", 60 * at, "purchase") for at, item in enumerate(items)]
    return rows


def log(rows: list[tuple[str, str, int, str]]) -> recllm.Interactions:
    names = ["user_id", "item_id", "timestamp", "event"]
    return recllm.Interactions.from_frame(pl.DataFrame(rows, names, orient="row"))


def measure(rec: recllm.Recommender, known: int, users: int) -> dict[str, Any]:
    """Of the reasons for the two best items of 200 customers with so many known events."""
    rows = customers("new", known, seed=known)
    asked = log(rows)
    counts = dict.fromkeys(("reasons", "of the right taste", "moved up", "weak though moved up", "right", "whole"), 0)
    repeated = 0
    for user in list(dict.fromkeys(row[0] for row in rows))[:users]:
        own = asked.of_users([user])
        lines = list(rec.recommend(own, n=LISTED, explain=True))
        repeated += len(lines) - len({line.explanation for line in lines})
        for line in lines:
            evidence: Any = line.evidence
            counts["reasons"] += 1
            counts["of the right taste"] += line.item_id[0] == rows_taste(rows, user)
            if not evidence["place"] < evidence["place_without_history"]:
                continue
            counts["moved up"] += 1
            counts["weak though moved up"] += line.reason_code != "history"
            counts["whole"] += evidence["whole"]
            cited = [cause["item_id"] for cause in evidence["causes"]]
            if cited and not evidence["whole"] and all(one[0] == line.item_id[0] for one in cited):
                less = rec.recommend(own, n=2 * ITEMS, without=cited)
                place = next(row.rank for row in less if row.item_id == line.item_id)
                counts["right"] += place > evidence["place"]
    return {"known": known, **counts, "repeated": repeated}


def rows_taste(rows: list[tuple[str, str, int, str]], user: str) -> str:
    return next(item[0] for name, item, *_ in rows if name == user)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=USERS, help="who ask, for each number of known events")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = {}
    for kind in ("tastes", "copies"):
        learned = log(customers("old", EVENTS, seed=0))
        rec = recllm.Recommender().fit(world(kind), learned, options=recllm.TrainOptions(seed=0))
        result[kind] = [measure(rec, known, args.users) for known in KNOWN]
    text = json.dumps(result, indent=2)
    print(text)
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
