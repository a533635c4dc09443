"""Learning all channels of a catalog; their settings are chosen by validation NDCG@10."""

import numpy as np
import torch

from recllm.counts.trend import Popularity, Trend
from recllm.encoders.validation import DenseScores
from recllm.retrieval.channel import EXACT, Lesson
from recllm.retrieval.channels import CHANNELS
from recllm.retrieval.saved import HALF_LIFE
from recllm.retrieval.scoring import Channels


def learn_channels(lesson: Lesson) -> Channels:
    """Every registered channel that has something to say in this catalog."""
    half_life = _half_life(lesson)
    popularity = Popularity.of(lesson.counts.items, half_life)
    fitted = [lesson.fitted(kind) for kind in CHANNELS.values()]
    lesson.progress("count what goes together", 1, 1)
    settings = dict(lesson.chosen) | ({} if lesson.exact_items is None else {EXACT: lesson.exact_items})
    in_use = tuple(channel for channel in fitted if channel is not None)
    return Channels(lesson.text, popularity, in_use, settings, senses=lesson.senses, people=lesson.people)


def _half_life(lesson: Lesson) -> float:
    """Chosen for users of whom nothing is known, whom what is popular now serves almost alone."""

    def now(half_life: float) -> DenseScores:
        trend = Trend.of(lesson.counts.items.clock, half_life)
        latest = torch.from_numpy(trend.at(np.array([trend.end])))
        return lambda nobody: latest.expand(len(nobody), -1)

    tries = ((half_life, now(half_life)) for half_life in lesson.config.half_lives)
    newest = lesson.validation.newest()
    chosen: float = lesson.best("popularity now", lesson.config.half_lives, tries, newest, shots=(0,), noted=HALF_LIFE)
    return chosen
