"""The baselines: golden figures for each, and what all of them promise."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from recllm.counts import cooccurrence
from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.encoders.text import TextEncoderConfig
from recllm.errors import ConfigError, NotFittedError
from recllm.evaluation.baselines import ease, item_knn
from recllm.evaluation.baselines import text as text_module
from recllm.evaluation.baselines.baseline import Baseline, grid
from recllm.evaluation.baselines.ease import EASE
from recllm.evaluation.baselines.item_knn import ItemKNN
from recllm.evaluation.baselines.popularity import Popularity, RecentPopularity
from recllm.evaluation.baselines.registry import BASELINES
from recllm.evaluation.baselines.text import TextMean, TextRidge, WhitenedTextKNN
from recllm.testing import ScorerContract, ToyShop

ITEMS = ["a", "b", "c", "d", "e"]
CATALOG = Catalog.from_frame(
    pl.DataFrame({"item_id": ITEMS, "title": ["thing 1", "garden thing", "toys 2", "books 3", "kitchen 4"]})
)


def log(*rows: tuple[str, str, int, float]) -> Interactions:
    return Interactions.from_frame(
        pl.DataFrame(rows, schema=["user_id", "item_id", "timestamp", "rating"], orient="row")
    )


RATED = log(
    ("u", "a", 1, 5), ("u", "b", 2, 4), ("v", "b", 3, 5), ("v", "c", 4, 1), ("w", "b", 5, 1), ("w", "c", 6, 1),
    ("w", "d", 7, 5), ("x", "d", 8, 5), ("x", "a", 9, 4),
)  # fmt: skip
NOBODY = Interactions.from_mapping({"nobody": []})


def scores(baseline: Baseline, events: dict[str, list[str]]) -> np.ndarray:
    return baseline.score(Interactions.from_mapping(events), ITEMS)


class TestPopularity(ScorerContract):
    make = staticmethod(lambda: Popularity())


class TestRecentPopularity(ScorerContract):
    make = staticmethod(lambda: RecentPopularity())


class TestItemKNN(ScorerContract):
    make = staticmethod(lambda: ItemKNN())


class TestEASE(ScorerContract):
    make = staticmethod(lambda: EASE())


class TestTextMean(ScorerContract):
    kind: type[Baseline] = TextMean

    @pytest.fixture(autouse=True)
    def _backbone(self, tiny: Path) -> None:
        type(self).make = lambda: self.kind(text=TextEncoderConfig(backbone=str(tiny)))  # type: ignore[call-arg]


class TestWhitenedTextKNN(TestTextMean):
    kind = WhitenedTextKNN


def test_popularity_counts_distinct_users() -> None:
    twice = RATED.extend(log(("u", "a", 20, 5)))
    assert_array_equal(scores(Popularity().fit(CATALOG, twice), {"n": []})[0], [2, 3, 2, 2, 0])
    assert_array_equal(scores(Popularity(events="liked").fit(CATALOG, twice), {"n": ["b"]})[0], [2, 2, 0, 2, 0])


def test_recent_popularity_halves_with_every_half_life() -> None:
    events = log(("u", "a", 10, 5), ("v", "b", 1000, 5), ("w", "c", 1001, 5), ("x", "d", 5000, 5))
    found = scores(RecentPopularity(half_life=0.25).fit(CATALOG, events), {"n": []})[0]
    assert_allclose(found, [1 / 8, 1 / 4, 1 / 2, 1, 0])


def test_events_of_the_same_time_are_equally_recent() -> None:
    events = log(("u", "a", 7, 5), ("v", "b", 7, 5), ("w", "b", 7, 5))
    assert_allclose(scores(RecentPopularity().fit(CATALOG, events), {"n": []})[0], [1, 2, 0, 0, 0])


def test_a_log_without_times_has_no_recent_events() -> None:
    events = Interactions.from_mapping({"u": ["a", "b"], "v": ["a"], "w": ["c", "a", "b", "d"]})
    assert_allclose(scores(RecentPopularity(half_life=0.02).fit(CATALOG, events), {"n": []})[0], [3, 2, 1, 1, 0])


def test_item_knn_sums_shrunken_cosines() -> None:
    fitted = ItemKNN(shrinkage=1.0).fit(CATALOG, RATED)
    matrix = fitted.known(RATED).matrix(len(ITEMS)).toarray()
    overlap, norms = matrix.T @ matrix, np.sqrt(matrix.sum(axis=0))
    np.fill_diagonal(overlap, 0)
    cosines = overlap / (np.outer(norms, norms) + 1)
    assert_allclose(scores(fitted, {"n": ["a", "c"]})[0], cosines[0] + cosines[2], rtol=1e-6)


def test_item_knn_keeps_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_knn, "BLOCK_ENTRIES", 10)  # blocks of two items
    whole, cut = (scores(ItemKNN(neighbours=n).fit(CATALOG, RATED), {"n": ["b"]})[0] for n in (5, 1))
    assert_allclose(whole[2], whole.max())
    assert_allclose(cut, np.where(whole == whole.max(), whole, 0))
    monkeypatch.undo()
    assert_allclose(scores(ItemKNN(neighbours=5).fit(CATALOG, RATED), {"n": ["b"]})[0], whole)


def test_ease_solves_its_equation(toy: ToyShop) -> None:
    """B minimises |X − XB|² + λ|B|² with a zero diagonal: off the diagonal, the gradient is zero."""
    fitted = EASE(regularisation=20.0).fit(toy.catalog, toy.events)
    matrix = fitted.known(toy.events).matrix(len(toy.catalog)).toarray().astype(np.float64)
    weights = fitted._weights.astype(np.float64)
    gradient = matrix.T @ (matrix @ weights - matrix) + 20.0 * weights
    np.fill_diagonal(gradient, 0)
    assert not weights.diagonal().any()
    assert_allclose(gradient, 0, atol=1e-4)
    assert (weights != 0).sum() == len(weights) * (len(weights) - 1)


def test_ease_says_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch, toy: ToyShop) -> None:
    assert EASE().fit(toy.catalog, toy.events).note == ""
    monkeypatch.setattr(ease, "ALL_WEIGHTS", 40)
    monkeypatch.setattr(ease, "MOST_WEIGHTS", 7)
    cut = EASE().fit(toy.catalog, toy.events)
    assert cut.note == "of EASE's weights towards 48 items with events the 7 strongest of each are kept"
    for place in (ease, cooccurrence):
        monkeypatch.setattr(place, "EXACT_ITEMS", 40)
    fitted = EASE().fit(toy.catalog, toy.events)
    assert fitted.note.startswith(cut.note)
    assert "inverted for the 4,096 most popular items only" in fitted.note
    for one in (cut, fitted):
        assert np.isfinite(one.score(toy.events, toy.catalog.item_ids)).all()


def test_text_baselines_find_the_department(tiny: Path, toy: ToyShop) -> None:
    text = TextEncoderConfig(backbone=str(tiny))
    found = {}
    for baseline in (TextMean(text=text), WhitenedTextKNN(text=text), WhitenedTextKNN(text=text, pool="max")):
        rows = baseline.fit(toy.catalog, toy.events).score(toy.events, toy.catalog.item_ids)
        assert (np.abs(rows) <= 1 + 1e-5).all()
        best = rows.argsort(axis=1)[:, -5:]
        own = np.array([toy.favourite[user] for user in toy.events.user_ids])
        found[repr(baseline)] = (toy.department[best] == own[:, None]).mean()
    assert min(found.values()) > 0.6, found


def test_whitened_text_reads_liked_events_only(tiny: Path) -> None:
    fitted = WhitenedTextKNN(text=TextEncoderConfig(backbone=str(tiny))).fit(CATALOG, RATED)
    one, other = log(("n", "a", 1, 5), ("n", "b", 2, 1)), log(("n", "a", 1, 5))
    assert_array_equal(fitted.score(one, ITEMS), fitted.score(other, ITEMS))


def world_of_partners(monkeypatch: pytest.MonkeyPatch) -> tuple[Catalog, Interactions, np.ndarray]:
    """Items of four kinds with a text direction each; whoever takes kind 0 takes 1, too, and so do 2 and 3.

    The last item of each kind has no events. What goes together is linear in the text and never of the same words.
    """
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(4), 11)
    vectors = np.eye(8, dtype=np.float32)[kind] + rng.normal(0, 0.05, (44, 8)).astype(np.float32)

    class Encoder:
        def __init__(self, config: TextEncoderConfig, catalog: Catalog) -> None:
            pass

        def encode_catalog(self, catalog: Catalog) -> np.ndarray:
            return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    monkeypatch.setattr(text_module, "encoder_for", Encoder)
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": [f"i{row}" for row in range(44)]}))
    rows = []
    for user in range(120):
        first = 2 * (user % 2)
        for half in (first, first + 1):
            rows += [(f"u{user}", f"i{11 * half + item}", item, 5.0) for item in rng.permutation(10)[:2].tolist()]
    return catalog, log(*rows), kind


def test_ridge_knows_the_company_of_a_new_item(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, events, kind = world_of_partners(monkeypatch)
    new = [f"i{11 * number + 10}" for number in range(4)]
    own = {number: log(("n", f"i{11 * number}", 1, 5.0)) for number in range(4)}
    ridge, text = TextRidge(regularisation=5.0).fit(catalog, events), WhitenedTextKNN().fit(catalog, events)
    for number, history in own.items():
        partner = number ^ 1
        assert kind[catalog.rows(new)].tolist() == [0, 1, 2, 3]
        assert ridge.score(history, new)[0].argmax() == partner
        assert text.score(history, new)[0].argmax() == number, "text alone finds the same words"
        # A new item in the history speaks for what goes with it, known and new.
        only_new = ridge.score(log(("n", new[number], 1, 5.0)), catalog.item_ids)[0]
        assert only_new[catalog.rows(new)].argmax() == partner


def test_ridge_is_ease_where_items_are_known_and_solves_its_equation(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, events, _ = world_of_partners(monkeypatch)
    fitted = TextRidge(regularisation=5.0, ridge=3.0).fit(catalog, events)
    weights, vectors, warm = fitted._weights, fitted._vectors, np.arange(44) % 11 < 10
    known = [f"i{row}" for row in np.flatnonzero(warm)]
    assert_array_equal(fitted.score(events, known), EASE(regularisation=5.0).fit(catalog, events).score(events, known))
    design = np.concatenate([vectors[warm], np.sqrt(3.0) * np.eye(8)])
    target = np.concatenate([weights[np.ix_(warm, warm)].T, np.zeros((8, 40))])
    columns = vectors[~warm] @ np.linalg.lstsq(design, target, rcond=None)[0]  # [new, warm]
    history = log(("n", "i3", 1, 5.0), ("n", "i25", 2, 5.0))
    rows = np.searchsorted(np.flatnonzero(warm), [3, 25])
    new = [f"i{row}" for row in np.flatnonzero(~warm)]
    assert_allclose(fitted.score(history, new)[0], columns[:, rows].sum(axis=1), atol=1e-5)


@pytest.fixture(params=list(BASELINES))
def fitted(request: pytest.FixtureRequest, tiny: Path) -> Baseline:
    kind = BASELINES[request.param]
    text = {"text": TextEncoderConfig(backbone=str(tiny))} if "text" in kind.__dataclass_fields__ else {}
    return kind(**text).fit(CATALOG, RATED)


def test_who_says_nothing_gets_what_is_popular(fitted: Baseline) -> None:
    popular = RecentPopularity() if fitted.name == "recent popularity" else Popularity(events=fitted.events)
    assert_array_equal(fitted.score(NOBODY, ITEMS), popular.fit(CATALOG, RATED).score(NOBODY, ITEMS))


def test_only_the_newest_events_are_read(fitted: Baseline) -> None:
    both, newest = log(("n", "a", 1, 5), ("n", "d", 2, 5)), log(("n", "d", 2, 5))
    narrow = fitted.reading(window=1)
    assert_array_equal(narrow.score(both, ITEMS), fitted.score(newest, ITEMS))
    assert narrow.settings == fitted.settings | {"window": 1}
    assert fitted.window is None
    if "popularity" not in fitted.name:
        assert (fitted.score(both, ITEMS) != fitted.score(newest, ITEMS)).any()


def test_every_choice_can_be_made(fitted: Baseline) -> None:
    kind = type(fitted)
    assert 1 < len(kind.choices) <= 72
    for choice in kind.choices:
        assert kind(**choice).settings.items() >= choice.items()


def test_an_empty_log_can_be_fitted(fitted: Baseline) -> None:
    again = dataclasses.replace(fitted).fit(CATALOG, RATED.of_users([]))
    assert np.isfinite(again.score(RATED, ITEMS)).all()


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="events must be 'all' or 'liked', got 'some'"):
        Popularity(events="some")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="window must be at least 1"):
        ItemKNN(window=0)
    with pytest.raises(ConfigError, match="neighbours cannot be changed after fitting"):
        ItemKNN().reading(neighbours=3)


@pytest.mark.parametrize("call", [lambda b: b.score(RATED, ITEMS), lambda b: b.known(RATED)])
def test_an_unfitted_baseline_says_so(call: Callable[[Baseline], object]) -> None:
    with pytest.raises(NotFittedError, match="this EASE has not been fitted"):
        call(EASE())


def test_a_grid_is_every_combination() -> None:
    assert grid(a=(1, 2), b=("x",)) == [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}]
