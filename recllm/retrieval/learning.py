"""Learning all channels of a catalog; their settings are chosen by validation NDCG@10."""

import numpy as np
import torch

from recllm.encoders.validation import DenseScores
from recllm.retrieval.channel import Lesson
from recllm.retrieval.channels import CHANNELS
from recllm.retrieval.scoring import Channels
from recllm.retrieval.trend import Popularity, Trend


def learn_channels(lesson: Lesson) -> Channels:
    """Every registered channel that has something to say in this catalog."""
    popularity = _popularity(lesson)
    fitted = [lesson.fitted(kind) for kind in CHANNELS.values()]
    lesson.progress("count what goes together", 1, 1)
    return Channels(lesson.text, popularity, tuple(channel for channel in fitted if channel is not None))


def _popularity(lesson: Lesson) -> Popularity:
    """The half-life is chosen for users of whom nothing is known, whom it serves almost alone."""
    liked = np.asarray(lesson.matrix(liked_only=True).sum(axis=0)).ravel().astype(np.float32)

    def now(half_life: float) -> DenseScores:
        trend = Trend.fit(lesson.base, lesson.items, half_life)
        latest = torch.from_numpy(trend.at(np.array([trend.end])))
        return lambda nobody: latest.expand(len(nobody), -1)

    tries = ((half_life, now(half_life)) for half_life in lesson.config.half_lives)
    newest = lesson.validation.newest()
    half_life = lesson.best("popularity now", lesson.config.half_lives, tries, newest, shots=(0,))
    lesson.chosen["half-life"] = half_life
    return Popularity(liked, Trend.fit(lesson.base, lesson.items, half_life))
