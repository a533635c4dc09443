"""What adapting costs: a batch of users against a loop over PEFT adapters that do the same, one user, meta-training.

    python scripts/bench/adapting.py ml-1m --out results/adapting.json

Every ratio is of two times of the same run, which take turns. PEFT's side is ready-made: one wrapped head whose LoRA is
set back for each user, the same questions, the same loss, autograd, the same step.
"""

import argparse
import copy
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch

import recllm
from recllm.adaptation.lora import for_each_user
from recllm.adaptation.meta import AdaptationConfig
from recllm.adaptation.support import HEAD, Support
from recllm.adaptation.train import Lesson, query_losses
from recllm.data.histories import make_histories
from recllm.encoders.config import BaseTrainingConfig
from recllm.model.fit.head import ranking_tasks
from recllm.model.fit.run import FitRun
from recllm.model.fit.stages import fit_stages

USERS, EVENTS, RATE = 256, 10, 0.1


def seconds(run: Callable[[], Any]) -> float:
    """Of one call."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def turns(runs: dict[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """Median seconds of each, taking turns."""
    for run in runs.values():
        run()
    measured = [{name: seconds(run) for name, run in runs.items()} for _ in range(times)]
    return {name: float(np.median([line[name] for line in measured])) for name in runs}


def main() -> None:
    """Run, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--steps", type=int, default=20, help="of base training: its quality does not matter here")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    folder = Path(os.environ["RECLLM_DATA"]) / arguments.name
    catalog = recllm.Catalog.read(folder / "items.csv.gz")
    events = recllm.Interactions.read(folder / "interactions.csv.gz").known_items(catalog)
    test = (folder / "test_users.txt").read_text(encoding="utf-8").split()[:USERS]
    config = recllm.RecommenderConfig(
        training=BaseTrainingConfig(steps=arguments.steps, validate_every=arguments.steps),
        adaptation=AdaptationConfig(epochs=0, inner_learning_rate=RATE),
    )
    run = FitRun(config, catalog, events.without_users(test), recllm.TrainOptions(seed=0))
    model = fit_stages(run)
    learner, base = model.learner, model.base
    assert learner is not None
    newcomers = make_histories(events.of_users(test), catalog, model.feedback).last(EVENTS)

    wrapped: Any = peft.get_peft_model(
        copy.deepcopy(model.head), peft.LoraConfig(r=1, lora_alpha=1, target_modules=["weights"])
    )
    layer = wrapped.base_model.model.weights
    start = for_each_user(learner.start(), 1)

    def with_peft(user: int) -> torch.Tensor:
        with torch.no_grad():
            layer.lora_A["default"].weight.copy_(start[f"{HEAD}.A"][0].T)
            layer.lora_B["default"].weight.copy_(start[f"{HEAD}.B"][0].T)
            support = Support.collate(base, newcomers.of([user]), learner.contrast)
        scores = wrapped(support.scores, support.known)
        raised = learner.contrast.log_counts.expand_as(support.rivals).masked_fill(~support.rivals, -1e30)
        log_chance = torch.cat([scores[:, :1], scores[:, 1:] + raised], dim=1).log_softmax(dim=1)[:, 0]
        liked = (support.signals > 0).float()
        loss = -(log_chance * liked).sum() / support.signals.abs().sum().clamp(min=1)
        weight = layer.lora_B["default"].weight
        weight.grad = None
        loss.backward()
        with torch.no_grad():
            return weight - RATE * weight.grad

    def loop() -> None:
        for user in range(len(newcomers)):
            with_peft(user)

    model.encoder.eval()
    batched = turns({"recllm": lambda: model.adapt(newcomers), "loop over PEFT": loop}, times=5)
    one = sorted(seconds(lambda row=row: model.adapt(newcomers.of([row]))) for row in range(len(newcomers)))  # type: ignore[misc]

    histories, tasks = ranking_tasks(run, model, 256, nothing_known=0.0, masked_items=0.0)
    histories, tasks = histories.of(np.arange(256)), tasks.of(torch.arange(256))
    learner.requires_grad_(True)
    lessons = list(Lesson.prepare(learner, base, histories, tasks))

    def outer(size: int) -> None:
        for lesson in lessons:
            for rows in torch.arange(len(lesson.tasks)).split(size):
                part = lesson.of(rows)
                query_losses(base, part, learner.adapt_support(base, part.support)).mean().backward()

    trained = turns({"batches of 64": lambda: outer(64), "one task at a time": lambda: outer(1)}, times=3)
    sized = model.adapt(newcomers.of([0]))
    result = {
        "data": arguments.name,
        "users": len(newcomers),
        "events": EVENTS,
        "seconds": batched,
        "times faster than the loop": batched["loop over PEFT"] / batched["recllm"],
        "users a second": len(newcomers) / batched["recllm"],
        "one user, ms": {"p50": 1e3 * one[len(one) // 2], "p99": 1e3 * one[int(0.99 * len(one))]},
        "meta-training, tasks a second": {name: 256 / value for name, value in trained.items()},
        "meta-training, times faster": trained["one task at a time"] / trained["batches of 64"],
        "bytes per user, fp16": sum(2 * part[0].numel() for part in sized.values()),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(result, indent=1))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
