"""A channel from outside the package: one class and one line, and it is fitted, served, explained, kept and loaded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import torch

import recllm
from recllm.artifact.arrays import SavedArrays
from recllm.counts.trend import Popularity, Trend
from recllm.retrieval.channel import Channel, Lesson, PopularTables, Visits
from recllm.retrieval.channels import CHANNELS, register
from recllm.retrieval.profiles import Shared
from recllm.retrieval.table import Table
from recllm.testing import ToyShop
from tests.small import config_for, newcomer


@dataclass(frozen=True)
class LongTail(Channel):
    """What few people took."""

    rare: np.ndarray  # float32 [items]
    name, words = "long_tail", "what few people know"

    @classmethod
    def fit(cls, lesson: Lesson) -> Self:
        return cls(-np.bincount(lesson.base.item_rows, minlength=lesson.items).astype(np.float32))

    def profile(self, visits: Visits) -> Shared:
        return Shared(torch.from_numpy(self.rare)[None], torch.zeros(len(visits.histories), dtype=torch.long))

    def extended(self, text: torch.Tensor) -> Self:
        return type(self)(np.pad(self.rare, (0, len(text) - len(self.rare))))

    def tensors(self) -> Mapping[str, np.ndarray]:
        return {"rare": self.rare}

    @classmethod
    def from_tensors(cls, saved: SavedArrays, items: int, dim: int) -> Self:
        return cls(saved.floats("rare", items, least=-1e9))


@pytest.fixture
def registered() -> Iterator[None]:
    register(LongTail)
    yield
    CHANNELS.pop("long_tail")


def test_a_channel_from_outside_takes_part_in_everything(
    registered: None, tiny: Path, toy: ToyShop, tmp_path: Path
) -> None:
    rec = recllm.Recommender(config_for(tiny, adaptation=None)).fit(toy.catalog, toy.events)
    model, user = rec.model, {"visitor": newcomer(toy, 0)}
    assert model.channels.names[-1] == "long_tail"
    assert model.head.channels == len(model.channels.names)
    place = model.channels.names.index("long_tail")
    with torch.no_grad():  # a head that listens to nothing else
        for part in model.head.parameters():
            part.zero_()
        model.head.weights.bias[place] = 1.0
    served = rec.recommend(user, n=5, explain=True)
    taken = toy.catalog.rows(toy.events.frame["item_id"].to_list())
    counts = np.bincount(taken, minlength=len(toy.catalog))
    rows = toy.catalog.rows([row.item_id for row in served])
    unseen = np.setdiff1d(np.arange(len(counts)), toy.catalog.rows(next(iter(user.values()))))
    assert counts[rows].mean() < np.median(counts[unseen]), "what few people took"
    assert {row.evidence["channel"] for row in served} == {"long_tail"}
    assert "what few people know" in str(rec.explain_ranking(known=(3,), n=5))
    assert all(rec.verify_explanation(row).passed for row in served)
    rec.add_items([{"item_id": "fresh", "title": "A fresh thing"}])
    rec.save(tmp_path / "model")
    loaded = recllm.Recommender.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score(user, toy.catalog.item_ids), rec.score(user, toy.catalog.item_ids))


def test_a_model_with_a_channel_that_is_not_there_says_so(
    registered: None, tiny: Path, toy: ToyShop, tmp_path: Path
) -> None:
    recllm.Recommender(config_for(tiny, adaptation=None)).fit(toy.catalog, toy.events).save(tmp_path / "model")
    channel = CHANNELS.pop("long_tail")
    try:
        with pytest.raises(recllm.ArtifactError, match="channel 'long_tail', which is not registered here"):
            recllm.Recommender.load(tmp_path / "model")
    finally:
        register(channel)


def test_two_channels_cannot_have_one_name() -> None:
    class Other(LongTail):
        name = "text"

    with pytest.raises(recllm.ConfigError, match="a channel named 'text' is there already"):
        register(Other)


def test_what_was_popular_at_a_moment_is_looked_up_once_and_shared() -> None:
    """Of moments before, inside and after the log, and of the end itself, whichever ask together."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 9, (4, 30)).astype(np.float32)
    trend = Trend(np.array([10.0, 20.0, 30.0]), counts, counts.sum(axis=0), half_life=5.0)
    tables = PopularTables(Popularity(counts.sum(axis=0), trend))
    for moments in ([30.0], [5.0, 12.0, 12.0, 25.0, 30.0], [31.0, 30.0, 47.0, 31.0], [], [12.0]):
        asked = np.array(moments)
        table, row = tables.at(asked)
        wanted = torch.from_numpy(np.log1p(trend.at(asked)))
        torch.testing.assert_close(table.scores[row], wanted)
        assert len(table.scores) == len(
            set(np.searchsorted(trend.ends, asked, "right") + 9 * np.maximum(asked - 30, 0))
        )
        if moments:
            fresh = Table(table.scores.clone())
            assert torch.equal(table.leading(7), fresh.leading(7))
            for mine, theirs in zip((*table.moments, table.speaks), (*fresh.moments, fresh.speaks), strict=True):
                assert torch.equal(mine, theirs)
    assert tables.at(np.array([12.0]))[0] is tables.at(np.array([13.0]))[0]
