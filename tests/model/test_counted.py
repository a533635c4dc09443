"""A served model that is alive: what is learned today counts today, and what is forgotten is gone."""

import copy
import pickle
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recllm.artifact import load_artifact, save_artifact
from recllm.counts.counts import Counts
from recllm.data.catalog import Catalog
from recllm.data.histories import make_histories
from recllm.data.interactions import Interactions
from recllm.data.memory import Memory
from recllm.errors import ArtifactError, ConfigError, DataError, LeakageError
from recllm.evaluation.run import evaluate
from recllm.model import counted as counted_module
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import config_for, newcomer

END = 1_700_000_000.0


@pytest.fixture(scope="module")
def shop(tiny: Path, toy: ToyShop) -> Recommender:
    """A shop with ratings, so that not everything is liked."""
    rng = np.random.default_rng(0)
    frame = toy.events.frame.with_columns(pl.Series("rating", rng.integers(1, 6, len(toy.events))))
    return Recommender(config_for(tiny)).fit(toy.catalog, Interactions.from_frame(frame))


@pytest.fixture
def rec(shop: Recommender) -> Recommender:
    """A copy that may be changed; nothing that answers is."""
    return copy.copy(shop)


def counts_of(rec: Recommender) -> Counts:
    return rec._fitted().counted.counts


def from_scratch(rec: Recommender) -> Counts:
    """Counts of all that is remembered, as if it had come at once."""
    state = rec._fitted()
    histories = make_histories(state.memory.log, rec.catalog, rec.model.feedback, seed=state.seed)
    return Counts.of(histories, len(rec.catalog), state.counted.counts.resolution)


def log(*rows: tuple[str, str, float] | tuple[str, str, float, float]) -> Interactions:
    columns = ["user_id", "item_id", "timestamp", "rating"][: len(rows[0])]
    return Interactions.from_frame(pl.DataFrame(rows, columns, orient="row"))


# --- counts follow the memory ------------------------------------------------------------------------------------

USERS = [f"new{user}" for user in range(4)] + [f"u{user}" for user in range(4)]
steps = st.one_of(
    st.tuples(
        st.just("update"),
        st.lists(
            st.tuples(
                st.sampled_from(USERS),
                st.sampled_from(["i0", "i1", "i2", "i9", "unknown"]),
                st.integers(0, 50).map(lambda day: END + 86_400.0 * day),
                st.integers(1, 5).map(float),
            ),
            min_size=1,
            max_size=6,
        ),
    ),
    st.tuples(st.just("forget"), st.lists(st.sampled_from(USERS), min_size=1, max_size=3)),
    st.tuples(st.just("add"), st.integers(0, 3)),
    st.tuples(st.just("keep"), st.none()),
)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, max_size=6))
def test_whatever_happens_counts_are_those_of_what_is_remembered(
    shop: Recommender, tmp_path_factory: pytest.TempPathFactory, happens: list[tuple[str, Any]]
) -> None:
    rec = copy.copy(shop)
    for what, given_ in happens:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if what == "update":
                rec.update(log(*given_))
            elif what == "add":
                fresh = {"item_id": [f"fresh{given_}"], "title": ["garden thing new"]}
                rec.add_items(Catalog.from_frame(pl.DataFrame(fresh)))
            elif what == "keep":
                folder = tmp_path_factory.mktemp("kept") / "model"
                rec.save(folder)
                rec = Recommender.load(folder)
            elif any(user in rec.user_ids for user in given_):
                rec.forget(given_)
    assert counts_of(rec).digest() == from_scratch(rec).digest()
    channels, counts = rec.model.channels, counts_of(rec)
    np.testing.assert_array_equal(channels.popularity.liked, counts.items.liked.astype(np.float32))
    np.testing.assert_array_equal(channels.trend.total, counts.items.liked.astype(np.float32))


def test_who_came_and_is_forgotten_was_never_there(rec: Recommender) -> None:
    before, first = rec.model.digest(), counts_of(rec).digest()
    some = log(*(("guest", f"i{item}", END + item, 5.0) for item in range(6)), ("u1", "i3", END, 4.0))
    rec.update(some.of_users(["guest"]))
    assert rec.model.digest() != before
    rec.forget("guest")
    assert counts_of(rec).digest() == first
    assert rec.model.digest() == before, "also to the last bit of the weights that are computed from them"


def test_forgetting_a_training_user_gives_the_channels_of_a_shop_without_them(rec: Recommender) -> None:
    gone = rec.user_ids[5]
    rec.forget(gone)
    assert gone not in rec.user_ids
    state = rec._fitted()
    never = state.model.channels.renewed(from_scratch(rec), state.model.retrieval)
    for name, array in never.tensors().items():
        np.testing.assert_array_equal(array, rec.model.channels.tensors()[name], err_msg=name)


def test_nobody_answers_from_counts_of_the_forgotten(rec: Recommender) -> None:
    """The weights are computed at the first question, not before, and no later."""
    weights = rec.model.channels["cooccurrence"].tensors()["data"]
    rec.forget(rec.user_ids[:20])
    anew = rec.model.channels["cooccurrence"].model.given  # type: ignore[attr-defined]
    assert not anew.is_made
    rec.recommend({"x": ["i0"]})
    assert anew.is_made
    assert not np.array_equal(anew.get().data, weights)


# --- what is learned counts --------------------------------------------------------------------------------------


def test_what_is_taken_today_is_popular_today(rec: Recommender) -> None:
    """Thirty strangers take one unpopular item: whoever comes next is shown it at once."""
    liked = rec.model.channels.popularity.liked
    rare = rec.catalog.item_ids[int(liked.argmin())]
    end = rec.model.channels.trend.end
    places = []
    for _ in range(2):
        asked = rec.recommend({"next": []}, n=len(rec.catalog))
        places.append([row.item_id for row in asked].index(rare))
        rec.update(log(*((f"today{user}", rare, end + user, 5.0) for user in range(30))))
    assert places[1] < 3 < places[0]
    assert rec.model.channels.trend.end > end


def test_what_is_taken_together_today_goes_together(rec: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = rec.catalog.rows(["i0", "i47"])

    def weight() -> float:
        model = rec.model.channels["cooccurrence"].model  # type: ignore[attr-defined]
        return float(model.weights[[pair[0]], [pair[1]]].sum())

    before = weight()
    few = [(f"pair{user}", item, END + user, 5.0) for user in range(3) for item in ("i0", "i47")]
    monkeypatch.setattr(counted_module, "RENEWED_AFTER", 0.5)
    rec.update(log(*few))
    assert weight() == before, "too little is new for weights to be fitted again"
    assert counts_of(rec).pairs.taken[min(pair), max(pair)] >= 3
    monkeypatch.setattr(counted_module, "RENEWED_AFTER", 0.02)
    rec.update(log(*((f"more{user}", item, END + user, 5.0) for user in range(20) for item in ("i0", "i47"))))
    assert weight() > before + 0.05
    assert rec._fitted().counted.since_weights == 0


def test_events_without_times_happen_now(rec: Recommender, shop: Recommender) -> None:
    """A mapping says what was taken, not when: after everything else, and not in 1970."""
    rec.update({"mia": ["i0", "i1"], "u1": ["i2"]})
    end = shop.model.channels.trend.end
    log = rec._fitted().memory.of_users(["mia", "u1"]).frame
    fresh = log.filter(pl.col("item_id").is_in(["i0", "i1", "i2"]))
    assert (fresh.filter(pl.col("user_id") == "mia")["timestamp"] > end).all()
    assert fresh["timestamp"].max() > end
    assert rec.model.channels.trend.end > end


def test_the_same_events_twice_count_once(rec: Recommender) -> None:
    events = log(("u1", "i5", END + 5, 5.0), ("guest", "i6", END + 6, 1.0))
    rec.update(events)
    first, memory = rec.model.digest(), len(rec._fitted().memory.log)
    rec.update(events)
    assert (rec.model.digest(), len(rec._fitted().memory.log)) == (first, memory)
    rec.update(events.of_users(["guest"]))
    assert rec.model.digest() == first


def test_older_events_than_the_log_and_unknown_items_are_no_trouble(rec: Recommender) -> None:
    with pytest.warns(UserWarning, match="1 of 2 events were left out"):
        rec.update(log(("guest", "i0", 86_400.0 * 400, 5.0), ("guest", "nowhere", END, 5.0)))
    assert counts_of(rec).digest() == from_scratch(rec).digest()
    assert len(rec.recommend(["guest"], n=3)) == 3
    before = rec.model.digest()
    with pytest.warns(UserWarning, match="left out"):
        rec.update(log(("guest", "nowhere", END, 5.0)))
    assert rec.model.digest() == before


def test_events_of_the_future_are_left_out_and_counted(rec: Recommender) -> None:
    day = time.time() + 30 * 86_400
    events = log(("guest", "i0", END, 5.0), ("guest", "i1", day, 5.0))
    assert events.report.dropped == {"future_timestamp": 1}
    before = rec.counts.events
    rec.update(events)
    assert rec.counts.events == before + 1
    assert rec.freshness().newest_event < time.time()


def test_an_update_that_fails_half_way_changes_nothing(rec: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    before, digest, users = rec._fitted(), rec.model.digest(), rec.user_ids
    for where in ("of", "plus"):
        with monkeypatch.context() as broken:
            broken.setattr(Counts, where, lambda *_, **__: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                rec.update(log(("guest", "i0", END, 5.0)))
            with pytest.raises(ZeroDivisionError):
                rec.forget(users[0])
    assert rec._fitted() is before
    assert (rec.model.digest(), rec.user_ids) == (digest, users)


def test_forgetting_somebody_unknown_is_said(rec: Recommender) -> None:
    before = rec._fitted()
    with pytest.raises(DataError, match="nobody named 'nobody' is remembered"):
        rec.forget("nobody")
    assert rec._fitted() is before
    with pytest.warns(UserWarning, match="'nobody'"):
        rec.forget(["nobody", rec.user_ids[0]])


def test_who_was_counted_is_not_evaluated_on(rec: Recommender, toy: ToyShop) -> None:
    guests = log(*((f"guest{user}", f"i{item}", END + item, 5.0) for user in range(9) for item in range(8)))
    asked = {"shots": (1,), "test_users": guests.user_ids[:5], "baselines": []}
    evaluate(rec, toy.catalog, guests, **asked)
    rec.update(guests)
    with pytest.raises(LeakageError):
        evaluate(rec, toy.catalog, guests, **asked)


def test_what_is_looked_up_in_item_vectors_is_looked_up_once(rec: Recommender, toy: ToyShop, tmp_path: Path) -> None:
    space, items = rec.model.channels.space, rec.model.space
    rec.update({"new": [{"item_id": "i5", "timestamp": 2_000_000}]})
    rec.forget(["new"])
    assert (rec.model.channels.space is space, rec.model.space is items) == (True, True)
    untaught = Recommender.from_catalog(toy.catalog, config=rec.config)
    assert untaught.model.space is untaught.model.channels.space, "items of which nothing was learned are their texts"
    untaught.save(tmp_path / "untaught")
    again = Recommender.load(tmp_path / "untaught").model
    assert again.space is again.channels.space
    assert again.items.delta.untyped_storage().nbytes() == 4, "no memory for what was not learned"
    assert again.digest() == untaught.model.digest()
    saved = load_artifact(tmp_path / "untaught", "recommender")
    assert "delta" not in saved.tensors["items"]
    old = {**saved.tensors, "items": saved.tensors["items"] | {"delta": np.zeros(again.vectors.shape, np.float32)}}
    save_artifact(
        tmp_path / "old", tensors=old, tables=saved.tables, documents=saved.documents, card="", kind="recommender"
    )
    assert Recommender.load(tmp_path / "old").model.digest() == again.digest(), "as version 0.1.0 saved it"


def test_it_can_be_pickled_with_weights_that_are_not_yet_there(rec: Recommender) -> None:
    rec.forget(rec.user_ids[:3])
    again = pickle.loads(pickle.dumps(rec))
    assert again.model.digest() == rec.model.digest()


# --- without histories -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def discreet(tiny: Path, toy: ToyShop) -> Recommender:
    return Recommender(config_for(tiny, keep_histories=False, adaptation=None)).fit(toy.catalog, toy.events)


def test_without_histories_no_event_is_kept(discreet: Recommender, toy: ToyShop, tmp_path: Path) -> None:
    assert discreet.user_ids == ()
    folder = tmp_path / "model"
    discreet.save(folder)
    kept = b"".join(file.read_bytes() for file in sorted(folder.iterdir()))
    assert not any(f'"{user}"'.encode() in kept for user in toy.events.user_ids)
    again = Recommender.load(folder)
    assert len(again._fitted().memory.log) == 0
    assert counts_of(again).digest() == counts_of(discreet).digest()
    brought = {"x": newcomer(toy, 1)}
    assert np.array_equal(again.score(brought, ["i0", "i13"]), discreet.score(brought, ["i0", "i13"]))


def test_without_histories_events_count_and_are_taken_out_if_they_are_brought(
    discreet: Recommender, toy: ToyShop
) -> None:
    rec = copy.copy(discreet)
    before, digest = counts_of(rec).digest(), rec.model.digest()
    events = {"guest": [{"item_id": item, "timestamp": END + place} for place, item in enumerate(newcomer(toy, 2))]}
    rec.update(events)
    assert counts_of(rec).digest() != before
    with pytest.raises(DataError, match="keeps no user's events"):
        rec.forget("guest")
    with pytest.raises(DataError, match="were not counted"):
        rec.forget({"other": [{"item_id": item, "timestamp": 7} for item in toy.catalog.item_ids]})
    rec.forget(events)
    assert counts_of(rec).digest() == before
    assert rec.model.digest() == digest


def test_counts_that_do_not_fit_are_refused_at_load(discreet: Recommender, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    discreet.save(folder)
    saved = load_artifact(folder, "recommender")
    tensors = {name: dict(group) for name, group in saved.tensors.items()}
    tensors["counts"]["pairs.taken.indices"] = tensors["counts"]["pairs.taken.indices"] + 10_000
    save_artifact(
        folder, tensors=tensors, tables=saved.tables, documents=saved.documents, card="a card", kind="recommender"
    )
    with pytest.raises(ArtifactError, match=r"not from 0 to"):
        Recommender.load(folder)


def test_the_memory_is_one_value(shop: Recommender) -> None:
    assert isinstance(shop._fitted().memory, Memory)


# --- how fresh it is ---------------------------------------------------------------------------------------------


def test_freshness_follows_what_comes_and_goes(rec: Recommender, tmp_path: Path) -> None:
    fitted = rec.freshness(now=END)
    newest = float(rec._fitted().memory.log.frame["timestamp"].to_numpy().max())
    assert (fitted.events, fitted.events_since_fit) == (counts_of(rec).events, 0)
    assert fitted.newest_event == fitted.weights_from == newest
    rec.update(log(("guest", "i0", END, 5.0), ("guest", "i1", END + 60, 5.0)))
    later = rec.freshness(now=END + 120)
    assert (later.events, later.events_since_fit) == (fitted.events + 2, 2)
    assert (later.newest_event, later.weights_from, later.age) == (END + 60, newest, 60.0)
    rec.save(tmp_path / "model")
    assert Recommender.load(tmp_path / "model").freshness(now=END + 120) == later
    rec.forget("guest")
    assert rec.freshness(now=END).newest_event == newest
    many = [(f"m{user}", f"i{item}", END + item, 5.0) for user in range(40) for item in range(20)]
    rec.update(log(*many))
    assert rec.freshness().refit_due


def test_freshness_without_histories_or_times_or_events(discreet: Recommender, tiny: Path, toy: ToyShop) -> None:
    fresh = discreet.freshness()
    clock = counts_of(discreet).items.clock
    assert fresh.newest_event == clock.moments[-1] * clock.resolution
    empty = Recommender.from_catalog(toy.catalog, config=config_for(tiny)).freshness()
    assert (empty.events, empty.newest_event, empty.refit_due) == (0, None, False)
    with pytest.raises(ConfigError, match="now"):
        discreet.freshness(now="yesterday")  # type: ignore[arg-type]
