"""From scores to lists: what may stand in them, in which order, and as of when. Nothing is trained here."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from recllm.counts.items import Clock
from recllm.counts.trend import Popularity, Trend
from recllm.data.catalog import Catalog
from recllm.data.histories import make_histories
from recllm.data.interactions import Interactions
from recllm.explain.contributions import without as histories_without
from recllm.explain.served import ServedRanking
from recllm.lists.request import ListRequest
from recllm.lists.results import Recommendations
from recllm.lists.serve import Served
from recllm.ranking.head import RankingHead
from recllm.recommender import Recommender
from recllm.retrieval import candidates
from recllm.retrieval.config import RetrievalConfig
from recllm.testing import DEPARTMENTS, ToyShop
from tests.small import config_for, newcomer

EVERYTHING = 48


@pytest.fixture(scope="module")
def shop(tiny: Path, toy: ToyShop) -> Recommender:
    """Ranks by likeness of texts alone; departments are categories."""
    departments = pl.Series("categories", [DEPARTMENTS[number] for number in toy.department])
    return Recommender.from_catalog(
        Catalog.from_frame(toy.catalog.frame.with_columns(departments)), config=config_for(tiny)
    )


def ids(lists: Recommendations, user: str = "x") -> list[str]:
    return [row.item_id for row in lists.for_user(user)]


def departments(toy: ToyShop, items: Sequence[str]) -> list[int]:
    return toy.department[toy.catalog.rows(items)].tolist()


def listening_to(shop: Recommender, channel: str, toy: ToyShop) -> Recommender:
    """The same shop, ranked by one channel alone, after a log in which i0 was popular long ago, i1 of late."""
    rows = [(f"u{at}", "i0" if at < 20 else "i1", 1_000_000 + 1000 * at) for at in range(30)]
    events = Interactions.from_frame(pl.DataFrame(rows, ["user_id", "item_id", "timestamp"], orient="row"))
    histories = make_histories(events, shop.catalog, shop.model.feedback)
    trend = Trend.of(Clock.of(histories, len(toy.catalog), 1.0))
    popularity = Popularity(shop.model.channels.popularity.liked, trend)
    channels = replace(shop.model.channels, popularity=popularity, newcomers=None)
    head = RankingHead(len(channels.names), shop.config.ranking).requires_grad_(False)
    head.weights.bias.copy_(torch.tensor([float(name == channel) for name in channels.names]))
    return shop.with_model(replace(shop.model, channels=channels, head=head), shop.config)


def retrieving(shop: Recommender, per_channel: int) -> Recommender:
    return shop.with_model(replace(shop.model, retrieval=RetrievalConfig(per_channel=per_channel)), shop.config)


def test_of_equal_scores_the_hash_of_the_id_decides(shop: Recommender, tiny: Path) -> None:
    """Nobody's events say anything here, so all scores are equal; and no order of the catalog shows through."""
    hashed = sorted(shop.catalog.item_ids, key=lambda item: hashlib.sha256(item.encode()).digest())
    assert ids(shop.recommend({"x": []}, n=EVERYTHING)) == hashed
    backwards = Catalog.from_frame(shop.catalog.frame.reverse())
    other = Recommender.from_catalog(backwards, config=config_for(tiny))
    assert ids(other.recommend({"x": []}, n=EVERYTHING)) == hashed
    assert ids(other.recommend({"x": []}, n=3)) == hashed[:3]


def test_what_the_user_has_is_left_out_also_where_it_is_forgotten(shop: Recommender) -> None:
    has = ["i0", "i1", "i2", "i20"]
    for without in (None, ["i0"], ["garden"], has):
        found = ids(shop.recommend({"x": has}, n=EVERYTHING, without=without))
        assert sorted([*found, *has]) == sorted(shop.catalog.item_ids), without
    assert len(ids(shop.recommend({"x": has}, n=EVERYTHING, exclude_seen=False, without=has))) == EVERYTHING


def test_without_is_as_if_it_had_not_happened(shop: Recommender) -> None:
    less = shop.recommend({"x": ["i0", "i1", "i20"]}, n=EVERYTHING, without=["i0", "i1"])
    alone = shop.recommend({"x": ["i20"]}, n=EVERYTHING)
    scores = {row.item_id: row.score for row in alone}
    assert [row.score for row in less] == pytest.approx([scores[row.item_id] for row in less], abs=1e-5)


def test_what_is_left_out_changes_no_clock(shop: Recommender, toy: ToyShop) -> None:
    """Now is when the user was last seen, long after the log's end; also where that event is left out."""
    listening = listening_to(shop, "recent", toy)
    events = [{"item_id": "i5", "timestamp": 1_000_100}, {"item_id": "i6", "timestamp": 1_040_000}]
    now, still_now = (listening.recommend({"x": events}, n=5, without=out) for out in (None, ["i6"]))
    early = listening.recommend({"x": events[:1]}, n=5)
    assert [row.score for row in still_now] == pytest.approx([row.score for row in now], abs=1e-5)
    assert [row.score for row in now] != pytest.approx([row.score for row in early], abs=1e-3), "popularity has faded"


def test_what_would_be_without_an_event_is_asked_at_the_same_moment(shop: Recommender, toy: ToyShop) -> None:
    """A ranking by the time alone is the same without any event, also without the one that says when."""
    listening = listening_to(shop, "recent", toy)
    events = [{"item_id": "i5", "timestamp": 1_000_100}, {"item_id": "i6", "timestamp": 1_040_000}]
    log = Interactions.from_mapping({"x": events})
    history = make_histories(log, listening.catalog, listening.model.feedback)
    served = Served(listening.model, ListRequest(n=5))
    copies = histories_without(history, 0, [(), listening.catalog.rows(["i6"]), history.item_rows])
    scores = ServedRanking(served, history)(copies).scores
    np.testing.assert_allclose(scores[1:], scores[[0, 0]], atol=1e-5)
    assert np.ptp(scores[0]) > 0.1


def test_filters_and_candidates_all_have_to_hold(shop: Recommender, toy: ToyShop) -> None:
    some = {"x": newcomer(toy, 0)}
    garden = ids(shop.recommend(some, n=EVERYTHING, filters={"categories": "garden"}))
    assert departments(toy, garden) == [0] * 9
    both = {"categories": ["garden", "toys"], "title": ["garden thing number 7", "books thing number 40"]}
    assert ids(shop.recommend(some, filters=both)) == ["i7"]
    assert set(ids(shop.recommend(some, candidates=["i3", "i40", "i0"]))) == {"i3", "i40"}
    assert ids(shop.recommend(some, candidates=["i3", "i40"], filters={"categories": "books"})) == ["i40"]
    each = shop.recommend({"x": ["i1"], "y": ["i1"]}, candidates={"x": ["i3"], "y": ["i40", "i4"]})
    assert (ids(each), set(ids(each, "y"))) == (["i3"], {"i40", "i4"})


def test_wishes_reach_beyond_the_candidates(shop: Recommender, toy: ToyShop) -> None:
    few = retrieving(shop, per_channel=1)
    reader = {"x": newcomer(toy, 3)}
    assert departments(toy, ids(few.recommend(reader, n=1))) == [3]
    assert departments(toy, ids(few.recommend(reader, n=1, wishes=["more of garden (9)"]))) == [0]
    never = ids(shop.recommend(reader, n=EVERYTHING, wishes=["never of books"]))
    assert (len(never), set(departments(toy, never))) == (36, {0, 1, 2})


@pytest.mark.parametrize("diversity", [0.0, 1e-9])
def test_the_list_is_what_the_head_scores_best_of_what_channels_bring(
    shop: Recommender, toy: ToyShop, diversity: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each channel brings two items, and the head likes best what channels like least."""
    monkeypatch.setattr(candidates, "RANKED_WHOLE", 0)
    few = retrieving(shop, per_channel=1)
    head = RankingHead(len(few.model.channels.names), shop.config.ranking).requires_grad_(False)
    head.weights.bias.fill_(-1.0)
    contrary = few.with_model(replace(few.model, head=head), shop.config)
    users, items = {"x": newcomer(toy, 3)}, [item for item in toy.catalog.item_ids if item not in newcomer(toy, 3)]
    histories, _ = contrary.fitted.histories(contrary.fitted.events_of(users))
    rows = contrary.catalog.rows(items)
    said = contrary.model.channel_scores(histories, None)[0][:, torch.from_numpy(rows)]
    brought = set(said.topk(2, dim=1).indices[said.amax(dim=1) > said.amin(dim=1)].flatten().tolist())
    assert 2 < len(brought) < len(items) / 2
    scores = contrary.score(users, items)[0]
    wanted = [items[place] for place in np.argsort(-scores) if place in brought]
    assert ids(contrary.recommend(users, n=1, diversity=diversity)) == wanted[:1]
    assert int(scores.argmax()) not in brought, "else the test could not tell"


def test_rules_that_leave_too_little_of_what_channels_bring_look_at_everything(
    shop: Recommender, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = toy.catalog.frame.with_columns(kind=pl.Series(toy.department))
    sorted_shop = shop.with_model(replace(shop.model, catalog=Catalog.from_frame(frame)), shop.config)
    one = torch.from_numpy(toy.department == 3)
    monkeypatch.setattr(Served, "_retrieved", lambda self, histories, profiles, eligible: eligible & one)
    capped = ids(sorted_shop.recommend({"x": newcomer(toy, 3)}, n=len(DEPARTMENTS), caps={"kind": 1}))
    assert sorted(departments(toy, capped)) == list(range(len(DEPARTMENTS)))


def test_lists_are_longer_than_what_a_channel_brings(shop: Recommender, toy: ToyShop) -> None:
    few = retrieving(shop, per_channel=2)
    assert len(few.recommend({"x": newcomer(toy, 3)}, n=10)) == 10
    assert len(few.recommend({"x": []}, n=EVERYTHING)) == EVERYTHING


def test_variety_grows_with_diversity(shop: Recommender, toy: ToyShop) -> None:
    text = shop.model.channels.text.numpy()

    def likeness(diversity: float) -> float:
        rows = shop.catalog.rows(ids(shop.recommend({"x": newcomer(toy, 0)}, n=6, diversity=diversity)))
        return float(np.triu(text[rows] @ text[rows].T, 1).sum() / 15)

    plain, little, much = (likeness(diversity) for diversity in (0.0, 0.5, 1.0))
    assert plain > little > much
