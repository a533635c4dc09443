"""A recommender under noise: what is served and saved holds one set of noisy sums, and it says what they cover."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recllm.counts.counts import Counts
from recllm.counts.private import PrivacyConfig
from recllm.data.feedback import Feedback
from recllm.data.histories import make_histories
from recllm.encoders.finetuning import pairs
from recllm.encoders.finetuning.config import FinetuneConfig
from recllm.encoders.finetuning.pairs import Material, Sums
from recllm.errors import ConfigError
from recllm.model.weights import without_pairs
from recllm.prompting.template import load_prompt
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import config_for, newcomer

PRIVACY = PrivacyConfig(epsilon=200.0, delta=0.01, events=8)


@pytest.fixture(scope="module")
def fitted(toy: ToyShop, tiny: Path) -> Recommender:
    config = config_for(tiny, privacy=PRIVACY, adaptation=None)
    return Recommender(config).fit(toy.catalog, toy.events)


def exact(rec: Recommender, toy: ToyShop) -> Counts:
    histories = make_histories(toy.events, rec.catalog, rec.model.feedback, seed=0).last(PRIVACY.events)
    return Counts.of(histories, len(rec.catalog), rec.counts.resolution)


def test_what_is_served_is_counted_with_noise(fitted: Recommender, toy: ToyShop) -> None:
    counts, plain = fitted.counts, exact(fitted, toy)
    assert (counts.items.taken != plain.items.taken).any()
    assert np.corrcoef(counts.items.taken, plain.items.taken)[0, 1] > 0.3
    assert counts.pairs.taken.nnz < plain.pairs.taken.nnz
    channels = fitted.model.channels
    assert (channels.popularity.liked == counts.items.liked).all(), "popularity is of the same noisy sums"
    again = channels.renewed(counts, fitted.model.retrieval)
    for channel, same in zip(channels.fitted, again.fitted, strict=True):
        for name, part in channel.tensors().items():
            assert np.array_equal(part, same.tensors()[name]), f"{channel.name} rests on other sums, too"


def test_lists_are_still_of_the_department(fitted: Recommender, toy: ToyShop) -> None:
    recs = fitted.recommend({"new": newcomer(toy, 1)}, n=5)["new"]
    rows = fitted.catalog.rows([one.item_id for one in recs])
    assert (toy.department[rows] == 1).mean() >= 0.6


def test_what_comes_and_goes_moves_no_sum(fitted: Recommender, toy: ToyShop) -> None:
    """A difference of sums would tell exactly what the noise hides."""
    rec, before = Recommender.of(fitted.fitted), fitted.counts.digest()
    rec.update({"somebody": newcomer(toy, 0)})
    rec.forget("u0")
    assert rec.counts.digest() == before
    assert rec.freshness().events_since_fit == 3
    assert "somebody" in rec.user_ids
    assert "u0" not in rec.user_ids
    assert without_pairs(rec.fitted).counted.counts.digest() == before, "a server counts no pairs again"


def test_saved_and_loaded_it_is_the_same_sums(fitted: Recommender, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    assert Recommender.load(tmp_path / "model").counts.digest() == fitted.counts.digest()
    card = " ".join((tmp_path / "model" / "README.md").read_text().split())
    assert "(ε = 200, δ = 0.01)-differentially private" in card
    assert "Not covered: the transformer over histories and the ranking's weights" in card
    assert "hashes of the ids of all training users" in card
    assert "to the last bit" not in card


@pytest.mark.slow
def test_small_shops_draw_their_parts_anew(toy: ToyShop, tiny: Path) -> None:
    rec = Recommender(config_for(tiny, privacy=PRIVACY, adaptation=None, prior="shop-prior"))
    rec.fit(toy.catalog, toy.events)
    assert rec.counts.is_possible


def test_profiles_are_refused(toy: ToyShop, tiny: Path) -> None:
    rec = Recommender(config_for(tiny, privacy=PRIVACY))
    with pytest.raises(ConfigError, match="privacy covers what is counted of items and their pairs, and not by prof"):
        rec.fit(toy.catalog, toy.events, users=[{"user_id": "u0", "city": "Ulm"}])


def test_the_text_encoder_learns_from_sums(toy: ToyShop, monkeypatch: pytest.MonkeyPatch) -> None:
    histories = make_histories(toy.events, toy.catalog, Feedback(), seed=0)
    counts = Counts.of(histories, len(toy.catalog), 1.0)
    sums = Sums(counts.items.taken, counts.items.liked, counts.pairs.liked)
    config = FinetuneConfig(neighbours=3, held_out=0.2)

    def material(sums: Sums | None) -> Any:
        return Material.choose(
            toy.catalog, load_prompt("item.neutral"), histories, config, np.random.default_rng(0), sums
        )

    by_events = material(None).together(histories, config)
    monkeypatch.setattr(pairs, "liked_together", None)  # no event is looked at
    assert np.array_equal(material(sums).together(histories, config), by_events)
    nothing = Sums(sums.taken, sums.liked, sums.both * 0)
    assert not len(material(nothing).together(histories, config))
