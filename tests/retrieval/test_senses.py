"""Vectors that are none of texts: a world in which only they help, what is refused, and what stays after saving."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.encoders.senses import MOST_DIRECTIONS, Senses
from recllm.errors import DataError
from recllm.recommender import Recommender
from recllm.testing import tiny_backbone
from tests.small import config_for

LOOKS, ITEMS, FRESH, USERS, DIM = 4, 60, 12, 160, 16


def images(items: int, seed: int = 0) -> np.ndarray:
    """Items of a few looks; what all share is larger than what tells them apart."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(0, 1, (LOOKS, DIM))
    return 5 + centres[np.arange(items) % LOOKS] + rng.normal(0, 0.3, (items, DIM))


def frame(items: range) -> pl.DataFrame:
    return pl.DataFrame({"item_id": [f"i{row}" for row in items], "title": ["the thing"] * len(items)})


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_backbone(tmp_path_factory.mktemp("blank"), ["the thing"])


@pytest.fixture(scope="module")
def world() -> tuple[Catalog, Interactions]:
    """Who takes one look takes no other; all titles are the same."""
    rng = np.random.default_rng(0)
    catalog = Catalog.from_frame(frame(range(ITEMS))).with_vectors("image", images(ITEMS))
    events = {
        f"u{user}": [f"i{row}" for row in rng.permutation(np.arange(user % LOOKS, ITEMS, LOOKS))[:8]]
        for user in range(USERS)
    }
    return catalog, Interactions.from_mapping(events)


@pytest.fixture(scope="module")
def rec(blank: Path, world: tuple[Catalog, Interactions]) -> Recommender:
    catalog, events = world
    return Recommender(config_for(blank, adaptation=None)).fit(catalog, events)


def share_right(rec: Recommender, fresh: list[str]) -> float:
    """Of newcomers with two events, asked about items that nobody has taken: the share whose first is of their look."""
    right = []
    for user in range(40):
        look = user % LOOKS
        recs = rec.recommend({"new": [f"i{look}", f"i{look + 4 * (1 + user % 5)}"]}, n=1, candidates=fresh)
        right.append(int(next(iter(recs)).item_id.removeprefix("i")) % LOOKS == look)
    return float(np.mean(right))


def test_only_the_image_tells_new_items_apart(
    rec: Recommender, blank: Path, world: tuple[Catalog, Interactions]
) -> None:
    fresh = range(ITEMS, ITEMS + FRESH)
    ids = [f"i{row}" for row in fresh]
    new = Catalog.from_frame(frame(fresh)).with_vectors("image", images(ITEMS + FRESH, seed=1)[ITEMS:])
    seeing = Recommender.of(rec.fitted).add_items(new)
    assert share_right(seeing, ids) >= 0.9
    catalog, events = world
    blind = Recommender(config_for(blank, adaptation=None)).fit(Catalog(catalog.frame, catalog.report), events)
    assert share_right(blind.add_items(Catalog.from_frame(frame(fresh))), ids) < 0.6


def test_a_catalog_without_events_is_seen(blank: Path, world: tuple[Catalog, Interactions]) -> None:
    for prior in (None, "shop-prior"):
        rec = Recommender.from_catalog(world[0], config=config_for(blank, adaptation=None, prior=prior))
        right = [
            int(row.item_id.removeprefix("i")) % LOOKS == look
            for look in range(LOOKS)
            for row in rec.recommend({"new": [f"i{look}", f"i{look + LOOKS}"]}, n=5)
        ]
        assert np.mean(right) >= 0.9, prior


def test_it_is_the_same_after_saving(rec: Recommender, tmp_path: Path) -> None:
    rec.save(tmp_path / "model")
    again = Recommender.load(tmp_path / "model")
    ids = list(rec.catalog.item_ids)
    assert (again.score(["u0"], ids) == rec.score(["u0"], ids)).all()
    assert "senses" in again.model.channels.names
    fresh = Catalog.from_frame(frame(range(ITEMS, ITEMS + 4))).with_vectors("image", images(ITEMS + 4, seed=1)[ITEMS:])
    told = [other.add_items(fresh).score(["u0"], ["i60", "i61"]) for other in (again, Recommender.of(rec.fitted))]
    assert (told[0] == told[1]).all()
    again.save(tmp_path / "again")
    assert Recommender.load(tmp_path / "again").catalog.item_ids[-1] == "i63"


def test_items_without_vectors_say_nothing(blank: Path, world: tuple[Catalog, Interactions]) -> None:
    catalog = Catalog.from_frame(frame(range(ITEMS)))
    some = catalog.with_vectors("image", {f"i{row}": images(ITEMS)[row] for row in range(ITEMS) if row != 5})
    senses = Senses.of(some, np.ones(ITEMS, dtype=bool), 0.1)
    assert senses is not None
    white = senses.white(some).numpy()
    assert (white[5] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(np.delete(white, 5, axis=0), axis=1), 1, rtol=1e-5)
    rec = Recommender.from_catalog(some, config=config_for(blank, adaptation=None))
    assert np.isfinite(rec.score({"new": ["i5"]}, ["i1", "i5"])).all()


def test_several_senses_stand_side_by_side(world: tuple[Catalog, Interactions]) -> None:
    wide = np.random.default_rng(3).normal(size=(ITEMS, 400))
    both = world[0].with_vectors("sound", wide)
    senses = Senses.of(both, np.ones(ITEMS, dtype=bool), 0.1)
    assert senses is not None
    assert senses.width == DIM + MOST_DIRECTIONS
    assert both.fingerprint != world[0].fingerprint
    assert list(world[0].vectors) == ["image"], "with_vectors makes another catalog"


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((3, 4)), r"shape \[3, 4\] came for 60 items; give one row"),
        (np.zeros(60), r"shape \[60\] came for 60 items"),
        (np.zeros((60, 0)), r"shape \[60, 0\] came"),
        (np.full((60, 2), np.nan), r"that of item 'i0' holds nan; give finite numbers"),
        (np.full((60, 2), np.inf), r"'i0' holds inf"),
        ({"who": [1.0, 2.0]}, r"item 'who' is not in the catalog; leave it out"),
        (
            {"i1": [1.0, 2.0], "i2": [1.0]},
            r"vectors of shape \[1\] and \[2\] came; give at least one, all of one length",
        ),
        ({"i1": [1.0, float("nan")]}, r"that of item 'i1' holds nan"),
        ({}, r"vectors of shape none came; give at least one"),
        ([["a", "b"]] * 60, r"values of type <U1 came"),
        ([[1.0], [1.0, 2.0]], r"rows of different lengths came"),
        ("image.npy", r"values of type <U9 came"),
    ],
)
def test_what_is_refused(vectors: object, message: str) -> None:
    catalog = Catalog.from_frame(frame(range(ITEMS)))
    with pytest.raises(DataError, match=message):
        catalog.with_vectors("image", vectors)


def test_tensors_are_vectors_of_any_kind() -> None:
    catalog, plain = Catalog.from_frame(frame(range(3))), torch.arange(6.0).reshape(3, 2)
    rows = {f"i{row}": vector.bfloat16() for row, vector in enumerate(plain)}
    for given in (plain.bfloat16(), plain.clone().requires_grad_(), plain.long(), list(plain.bfloat16()), rows):
        np.testing.assert_array_equal(catalog.with_vectors("image", given).vectors["image"], plain.numpy())


def test_a_sense_has_a_name_and_one_length(rec: Recommender) -> None:
    with pytest.raises(DataError, match="vectors have a name"):
        rec.catalog.with_vectors(" ", np.zeros((ITEMS, 2)))
    fresh = Catalog.from_frame(frame(range(ITEMS, ITEMS + 1))).with_vectors("image", np.zeros((1, 3)))
    with pytest.raises(DataError, match="of new items have 3 numbers, and those of the catalog have 16"):
        Recommender.of(rec.fitted).add_items(fresh)
