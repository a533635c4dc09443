"""A world in which the base cannot know what a user wants, and the user's own events can."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from recllm.adaptation.meta import AdaptationConfig, MetaLearner, learner_for
from recllm.adaptation.support import Base
from recllm.counts.cooccurrence import Cooccurrence
from recllm.counts.items import USUAL, Clock
from recllm.counts.matrices import binary_matrix
from recllm.counts.trend import Popularity, Trend
from recllm.data.histories import Histories
from recllm.encoders.backbone import resolve_backbone
from recllm.encoders.history import HistoryEncoder, HistoryEncoderConfig
from recllm.ranking.head import RankingConfig, RankingHead
from recllm.ranking.objective import RankingTasks
from recllm.retrieval.channels.cooccurrence import TakenTogether
from recllm.retrieval.channels.history import History
from recllm.retrieval.channels.popularity import Popular, PopularNow, PopularWhenLastSeen
from recllm.retrieval.channels.text import Text
from recllm.retrieval.scoring import Channels
from recllm.retrieval.space import Space
from recllm.testing import TINY_WIDTH

ITEMS, WINDOW = 60, 8


@dataclass
class World:
    """Half of the users take what is popular, half what nobody takes; nothing but their own events tells which."""

    base: Base
    popularity: np.ndarray

    def histories(self, users: int, seed: int, signal: int = 1) -> tuple[Histories, np.ndarray]:
        """Histories of `WINDOW` events, and which users follow the crowd."""
        rng = np.random.default_rng(seed)
        crowd = np.arange(users) % 2 == 0
        rows = np.stack([self.taken(follows, WINDOW, rng) for follows in crowd])
        events = users * WINDOW
        return (
            Histories(
                tuple(f"u{user}" for user in range(users)),
                np.arange(0, events + 1, WINDOW),
                rows.ravel().astype(np.int64),
                np.tile(np.arange(WINDOW, dtype=np.int64), users),
                np.full(events, signal, dtype=np.int8),
                np.zeros(events, dtype=np.int64),
            ),
            crowd,
        )

    def taken(self, follows: bool, count: int, rng: np.random.Generator) -> np.ndarray:
        """Distinct items of one half of the catalog by popularity."""
        order = np.argsort(self.popularity)
        half = order[ITEMS // 2 :] if follows else order[: ITEMS // 2]
        return rng.permutation(half)[:count]

    def tasks(self, histories: Histories, crowd: np.ndarray, seed: int) -> RankingTasks:
        """What the users take next, every item listed."""
        rng = np.random.default_rng(seed)
        target = torch.zeros(len(histories), ITEMS)
        for user, follows in enumerate(crowd):
            fresh = np.setdiff1d(self.taken(follows, ITEMS // 2, rng), histories.items_of(user))[:4]
            target[user, fresh] = 1 / len(fresh)
        with torch.no_grad():
            users = torch.zeros(len(histories), self.base.encoder.width)
            profiles = self.base.channels.profiles(histories, users, self.base.space)
        eligible = torch.from_numpy(binary_matrix(histories, ITEMS, liked_only=False).toarray() == 0)
        known, owners = torch.full((len(histories),), float(WINDOW)), torch.arange(len(histories))
        said = partial(self.base.channels.scores_of, profiles)
        return RankingTasks.listing(said, known, eligible, target, owners, ITEMS, torch.Generator().manual_seed(0))

    def learner(self, **changes: object) -> MetaLearner:
        """A learner of this base."""
        config = AdaptationConfig(**{"contrast_items": ITEMS, "folds": 2, "learning_rate": 0.05, **changes})  # type: ignore[arg-type]
        return learner_for(self.base, config, 0)


@pytest.fixture
def world(tiny: Path) -> World:
    torch.manual_seed(0)
    settings = HistoryEncoderConfig(max_events=WINDOW, dropout=0.0)
    encoder = HistoryEncoder.build(resolve_backbone(str(tiny)), 1, settings).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(ITEMS, TINY_WIDTH, generator=generator), dim=1)
    text = torch.nn.functional.normalize(torch.randn(ITEMS, 5, generator=generator), dim=1)
    popularity = np.random.default_rng(0).permutation(ITEMS).astype(np.float32) + 1
    counts = Popularity(popularity, Trend.of(Clock.of(Histories.empty(0), ITEMS, USUAL)))
    nothing = TakenTogether(Cooccurrence.empty(ITEMS))
    channels = Channels(text, counts, (History(), Text(), nothing, Popular(), PopularWhenLastSeen(), PopularNow()))
    head = RankingHead(len(channels.names), RankingConfig()).requires_grad_(False)
    return World(Base(encoder, Space(vectors), channels, head), popularity)
