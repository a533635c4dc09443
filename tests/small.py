"""A configuration that learns the toy shop in seconds, and customers of one department."""

import dataclasses
from pathlib import Path

import numpy as np

from recllm.adaptation.meta import AdaptationConfig
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.history import HistoryEncoderConfig
from recllm.encoders.text import TextEncoderConfig
from recllm.model.config import RecommenderConfig
from recllm.ranking.head import RankingConfig
from recllm.testing import ToyShop

QUICK_HEAD = RankingConfig(tasks=300, epochs=5)
"""Where it does not matter how well lists are ranked: most of the time of learning a toy shop is its head's."""


def config_for(tiny: Path, **changes: object) -> RecommenderConfig:
    config = RecommenderConfig(
        text=TextEncoderConfig(backbone=str(tiny)),
        history=HistoryEncoderConfig(max_events=8, lora_rank=4),
        training=BaseTrainingConfig(
            steps=40, batch_users=32, validate_every=20, learning_rate=5e-3, delta_learning_rate=2e-2
        ),
        # Not meta-trained, so that the adapters surely do something, and are used.
        adaptation=AdaptationConfig(epochs=0, inner_learning_rate=0.5),
        # What is known of these worlds is learned in them.
        prior=None,
    )
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


def newcomer(toy: ToyShop, department: int) -> list[str]:
    return [toy.catalog.item_ids[row] for row in np.flatnonzero(toy.department == department)[:3]]
