"""Newcomers with a profile and without an event: lists with profiles against without, and against what is popular.

python scripts/bench/profiles.py uci-online-retail --field country
python scripts/bench/profiles.py ml-1m --users users.dat --sensitive

`--field` takes a column of the log that is the same in all events of a user for a field of their profile. `--users` is
a file of profiles; MovieLens' `users.dat` and `u.user` are understood as they are. K = 0, test users of the folder or a
fifth; NDCG@10 with 95 % intervals of the difference, paired by user.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import polars as pl

import recllm
from recllm.data.tasks import split_users
from recllm.encoders.config import BaseTrainingConfig

DATA = Path(os.environ.get("RECLLM_DATA", "../shared/data"))
RESULTS = Path(__file__).parent / "results"


def of_events(events: recllm.Interactions, field: str) -> recllm.Users:
    """A column of the log as a field, for users in whose events it never changes."""
    found = events.frame.group_by("user_id", maintain_order=True).agg(
        pl.col(field).n_unique().alias("kinds"), pl.col(field).first()
    )
    return recllm.Users.from_frame(found.filter(pl.col("kinds") == 1).select("user_id", field))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--field")
    parser.add_argument("--users", type=Path)
    parser.add_argument("--sensitive", action="store_true")
    asked = parser.parse_args()
    folder = DATA / asked.dataset
    catalog = recllm.Catalog.read(folder / "items.csv.gz")
    events = recllm.Interactions.read(folder / "interactions.csv.gz")
    users = recllm.Users.read(asked.users) if asked.users else of_events(events, asked.field)
    if (folder / "test_users.txt").exists():
        test = (folder / "test_users.txt").read_text().split()
    else:
        test = [events.user_ids[row] for row in split_users(events.user_ids, {"test": 0.2}, 0)["test"]]
    config = recllm.RecommenderConfig(
        adaptation=None,
        profiles=recllm.ProfilesConfig(sensitive=asked.sensitive),
        training=BaseTrainingConfig(steps=60),  # of whom nothing is known, the transformer says nothing
    )
    train = events.without_users(test)
    methods = {
        "with profiles": recllm.Recommender(config).fit(catalog, train, users=users),
        "without": recllm.Recommender(config).fit(catalog, train),
    }
    rivals = ["popularity", "recent popularity"]
    report = recllm.evaluate(
        methods, catalog, events, shots=(0,), baselines=rivals, test_users=test, dataset=asked.dataset
    )
    figures, place = report.figures, report.figures.places[0]
    result: dict[str, Any] = {"dataset": asked.dataset, "fields": list(users.fields), "users": figures.users(place)}
    result["strength"] = methods["with profiles"].report.chosen.get("profile strength")
    for name in [*methods, *rivals]:
        result[name] = figures.estimate(place, name, 0).value
        print(f"{name:20} NDCG@10 {result[name]:.4f}")
    for rival in ("without", *rivals):
        found = figures.comparison(place, "with profiles", rival, 0).difference
        result[f"against {rival}"] = [found.value, found.low, found.high]
        print(f"with profiles against {rival}: {found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]")
    (RESULTS / f"profiles-{asked.dataset}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
