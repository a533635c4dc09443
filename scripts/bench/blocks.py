"""Pretrained blocks with LoRA against a small transformer from scratch, at equal seconds of base training.

    RECLLM_DATA=… python scripts/bench/blocks.py ml-1m --seconds 240 [--out results/x.json]

The history vector alone ranks the whole catalog: no other channel, no head, no adapters. Validation users (a fifth of
those that are not test users) stop training; figures are given for them and for the test users.
"""

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import recllm
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.tasks import Tasks, make_tasks, split_users
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.history import HistoryEncoder, HistoryEncoderConfig, ItemEncoder, encode_users
from recllm.encoders.text import TextEncoder, TextEncoderConfig, Whitening
from recllm.encoders.train import BaseTrainer
from recllm.encoders.validation import evaluating, few_shot
from recllm.evaluation.protocol import SHOTS

ARMS = {
    "pretrained, depth 1, LoRA": HistoryEncoderConfig(),
    "scratch, width 128, 2 blocks": HistoryEncoderConfig(blocks="scratch", depth=2),
}


def load(name: str) -> tuple[recllm.Catalog, recllm.Interactions, recllm.Interactions]:
    """Catalog, training events and events of the test users."""
    folder = Path(os.environ["RECLLM_DATA"]) / name
    catalog = recllm.Catalog.read(folder / "items.csv.gz")
    events = recllm.Interactions.read(folder / "interactions.csv.gz")
    test = (folder / "test_users.txt").read_text().split()
    return catalog, events.without_users(test), events.of_users(test)


def figures(encoder: HistoryEncoder, items: ItemEncoder, tasks: Tasks) -> dict[str, float]:
    """NDCG@10 by the number of known events."""
    with evaluating(encoder):
        vectors = items()

        def score(histories: Histories) -> torch.Tensor:
            return encode_users(encoder, histories, vectors) @ vectors.T

        return {str(k): round(float(v.mean()), 4) for k, v in few_shot(score, tasks, SHOTS).items()}


def main() -> None:
    """Train every arm for the same time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3], help="learning rates for every arm")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    catalog, train, test = load(arguments.dataset)
    feedback = Feedback.infer(train.frame)
    histories = make_histories(train, catalog, feedback)
    parts = split_users(histories.user_ids, {"base": 0.8, "validation": 0.2}, seed=arguments.seed)
    base, validation = histories.of(parts["base"]), make_tasks(histories.of(parts["validation"]))
    held = make_tasks(make_histories(test, catalog, feedback))
    texts = TextEncoder(TextEncoderConfig())
    vectors = texts.encode_catalog(catalog)
    warm = np.zeros(len(catalog), dtype=bool)
    warm[base.item_rows] = True
    white = torch.from_numpy(Whitening.fit(vectors[warm], 0.1)(vectors))
    rows = []
    for name, arm in ARMS.items():
        for rate in arguments.rates:
            torch.manual_seed(arguments.seed)
            encoder = HistoryEncoder.build(texts.backbone, feedback.n_tokens, arm)
            items = ItemEncoder(white, torch.from_numpy(warm), encoder.width, arm.delta_bound)
            config = replace(BaseTrainingConfig(), steps=10**6, epochs=10**6, learning_rate=rate)
            options = recllm.TrainOptions(seed=arguments.seed)
            begin = time.monotonic()
            log = BaseTrainer(encoder, items, base, validation, config, options).run(arguments.seconds)
            rows.append(
                {
                    "arm": name,
                    "learning rate": rate,
                    "steps": log.points[-1][0],
                    "seconds": round(time.monotonic() - begin),
                    "validation mean": round(log.best, 4),
                    "validation": figures(encoder, items, validation),
                    "test": figures(encoder, items, held),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    result = {"dataset": arguments.dataset, "threads": torch.get_num_threads(), "test users": len(held), "arms": rows}
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
