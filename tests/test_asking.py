"""What people write when they ask: every form gives one answer, a wrong kind one sentence; what is left out is said."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import recllm
from recllm.adaptation.adapters import Adapters
from recllm.data.doors import read_profiles
from recllm.encoders.config import BaseTrainingConfig
from recllm.errors import ArtifactError, ConfigError, DataError
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import config_for, newcomer

SHORT = BaseTrainingConfig(steps=4, batch_users=16, validate_every=2)


@pytest.fixture(scope="module")
def rec(tiny: Path, toy: ToyShop) -> Recommender:
    return Recommender(config_for(tiny, training=SHORT)).fit(toy.catalog, toy.events)


@pytest.fixture
def mine(rec: Recommender, toy: ToyShop) -> Adapters:
    return rec.adapt({"mia": newcomer(toy, 0), "m": newcomer(toy, 1), 2: newcomer(toy, 2)})


def test_users_are_one_in_every_form(rec: Recommender) -> None:
    frame = pd.DataFrame({"user_id": ["x", "x"], "item_id": ["i1", "i2"], "timestamp": [1_700_000_000, 1_700_000_100]})
    events = recllm.Interactions.from_frame(frame)
    for given in (frame, pl.from_pandas(frame), {"x": events}, {"x": frame}):
        assert rec.recommend(given, n=3).to_json() == rec.recommend(events, n=3).to_json()
        assert rec.score(given, "i3").tolist() == rec.score(events, ["i3"]).tolist()
        assert rec.explain(given, "i3").to_json() == rec.explain(events, ["i3"]).to_json()
        preview = rec.preview(events, ["more of garden"], n=3).to_json()
        assert rec.preview(given, "more of garden", n=3).to_json() == preview
        assert rec.adapt(given).user_ids == ("x",)
    known = rec.recommend(["u0", "u1"], n=3).to_json()
    for ids in (np.array(["u0", "u1"]), pd.Series(["u0", "u1"]), iter(["u0", "u1"]), {"u1", "u0"}, [b"u0", "u1"]):
        assert rec.recommend(ids, n=3).to_json() == known


def test_keys_of_other_types_are_the_same_users(rec: Recommender) -> None:
    users = {1.0: ["i0", "i1"], b"two": ["i2"]}
    assert [row.item_id for row in rec.recommend(users, 3, candidates={1: ["i5"], "two": "i6"})] == ["i5", "i6"]
    assert np.isfinite(rec.score(users, {"1": ["i5", "i6"], b"two": ["i7", "i8"]})).all()
    assert [(row.user_id, row.item_id) for row in rec.explain(users, {np.int64(1): ["i5"]})] == [("1", "i5")]


def test_items_are_one_in_every_form(rec: Recommender, toy: ToyShop) -> None:
    wanted = ["i7", "i3"]
    scores, listed = rec.score(["u0", "u1"], wanted), rec.recommend("u0", candidates=wanted).to_json()
    frame = pd.DataFrame({"item_id": wanted, "title": ["a", "b"]})
    for given in (tuple(wanted), iter(wanted), np.array(wanted), pd.Series(wanted), frame, pl.from_pandas(frame)):
        if not hasattr(given, "__next__"):
            assert rec.recommend("u0", candidates=given).to_json() == listed
        np.testing.assert_array_equal(rec.score(["u0", "u1"], given), scores)
    assert rec.recommend("u0", candidates=set(wanted)).to_json() == listed
    assert rec.score("u0", toy.catalog).shape == (1, len(toy.catalog))
    assert rec.similar_items(iter(wanted), 2).to_json() == rec.similar_items(wanted, 2).to_json()
    recs = rec.recommend(["u0", "u1"], n=2)
    assert rec.score(["u0", "u1"], recs).shape == (2, 2)
    assert len(rec.recommend(["u1", "u0"], candidates=recs)) == 4
    assert rec.recommend("u0", without="i5").to_json() == rec.recommend("u0", without=["i5"]).to_json()


TABLE = pd.DataFrame({"a": [1, 2]})
"""It has no truth of its own, and more lines than one."""
TABLES = ("n", "by", "diversity", "diversity_by", "calibrated", "caps", "ceilings", "boosted", "wishes", "explain")

WRONG: dict[str, Callable[[Recommender, Any], Any]] = {
    **{f"n={n!r}": lambda rec, one, n=n: rec.recommend(one, n=n) for n in (2.5, "3", True, None, 0, [3])},  # type: ignore[misc]
    **{
        f"diversity={d!r}": lambda rec, one, d=d: rec.recommend(one, diversity=d)  # type: ignore[misc]
        for d in ("high", float("nan"), None, True, 2)
    },
    **{f"users={u!r}": lambda rec, _, u=u: rec.recommend(u) for u in (None, True, [["i1"]], np.array([["a"]]))},  # type: ignore[misc]
    "adapt": lambda rec, one: rec.recommend(one, adapt="no"),
    "explain": lambda rec, one: rec.recommend(one, explain="yes"),
    "exclude_seen": lambda rec, one: rec.recommend(one, exclude_seen=None),
    "filters": lambda rec, one: rec.recommend(one, filters="x"),
    **{f"{name} is a table": lambda rec, one, name=name: rec.recommend(one, **{name: TABLE}) for name in TABLES},  # type: ignore[misc]
    "prerequisites are a table": lambda rec, one: rec.path(one, "i1", prerequisites=TABLE),
    "alike by a table": lambda rec, _: rec.similar_items("i1", by=TABLE),
    "update by a table": lambda rec, one: rec.update(one, adapt=TABLE),
    "filters list": lambda rec, one: rec.recommend(one, filters=["title"]),
    "wishes": lambda rec, one: rec.recommend(one, wishes=3),
    "wishes mapping": lambda rec, one: rec.recommend(one, wishes={"more": "garden"}),
    "candidates": lambda rec, one: rec.recommend(one, candidates=[["i1"]]),
    "candidates frame": lambda rec, one: rec.recommend(one, candidates=pd.DataFrame({"title": ["x"]})),
    "without": lambda rec, one: rec.recommend(one, without=[["i1"]]),
    "adapters": lambda rec, one: rec.recommend(one, adapters=[one]),
    "score nothing": lambda rec, one: rec.score(one, None),
    "score a set": lambda rec, one: rec.score(one, {"i1", "i2"}),
    "score others": lambda rec, one: rec.score(one, {"X": ["i1"]}),
    "explain others": lambda rec, one: rec.explain(one, {"X": ["i1"]}),
    "columns as users": lambda rec, _: rec.recommend({"user_id": ["a"], "item_id": ["i1"]}),
    "columns as items": lambda rec, one: rec.score(one, {"item_id": ["i1"], "title": ["x"]}),
    "columns as events": lambda rec, _: rec.update({"user_id": ["a"], "item_id": ["i1"], "timestamp": [1]}),
    "search nothing": lambda rec, _: rec.search(None),
    "search a list": lambda rec, _: rec.search(["a"]),
    "search n": lambda rec, _: rec.search("garden", n="3"),
    "similar to nothing": lambda rec, _: rec.similar_items(None),
    "similar by user": lambda rec, _: rec.similar_items({"u": ["i1"]}),
    "steps many": lambda rec, one: rec.adapt(one, steps="many"),
    "steps −1": lambda rec, one: rec.adapt(one, steps=-1),
    "steps 1.5": lambda rec, one: rec.adapt(one, steps=1.5),
    "level": lambda rec, one: rec.explain(one, "i1", level="L9"),
    "generator": lambda rec, one: rec.explain(one, "i1", generator=3),
    "explain nothing": lambda rec, one: rec.explain(one),
    "update nothing": lambda rec, _: rec.update(None),
    "update ids": lambda rec, _: rec.update(["u1"]),
    "forget nothing": lambda rec, _: rec.forget(None),
    "forget a stranger": lambda rec, _: rec.forget("nobody-by-this-name"),
    "add nothing": lambda rec, _: rec.add_items(None),
    "explain_ranking": lambda rec, _: rec.explain_ranking(n="3"),
    "fit nothing": lambda *_: Recommender().fit(None, None),
    "fit options": lambda rec, _: Recommender().fit(rec.catalog, {"u": ["i1"]}, options="fast"),
    "config": lambda *_: Recommender("config"),
    "config mapping": lambda *_: Recommender({"domain": "neutral"}),
    "save nowhere": lambda rec, _: rec.save(None),
    "load nothing": lambda *_: Recommender.load(None),
    "load adapters": lambda rec, _: Adapters.load(None, rec),
    "save adapters": lambda rec, one: rec.adapt(one).save(3),
    "export adapters": lambda rec, one: rec.adapt(one).export("x", None),
    "evaluate nothing": lambda *_: recllm.evaluate(None, None, None),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_kind_gives_one_sentence(rec: Recommender, name: str) -> None:
    with pytest.raises((ConfigError, DataError)) as caught:
        WRONG[name](rec, {"x": ["i1"]})
    assert "\n" not in str(caught.value)


def test_where_nothing_is_new_nothing_changes(rec: Recommender) -> None:
    """A list without a record is a table without a row, as an empty frame or mapping is."""
    before = rec.recommend("u0").to_json()
    assert rec.update([]).add_items([]).recommend("u0").to_json() == before
    assert len(read_profiles([])) == 0


def test_a_text_that_no_file_can_hold_is_searched_for(rec: Recommender) -> None:
    assert len(rec.search("garden \ud800", n=1)) == 1


def test_ids_of_items_given_as_users_are_told(rec: Recommender) -> None:
    for call in (lambda: rec.recommend(["i1", "i2"]), lambda: rec.score("i1", "i2"), lambda: rec.adapt(["i3"])):
        with pytest.warns(UserWarning, match=r"ids of items, .* write \{'visitor': \[\.\.\.\]\}") as told:
            call()
        assert told[0].filename == __file__
    rec.recommend(["u1", "i1"])  # among users it may be a stranger's name


def test_a_history_of_unknown_items_is_told(rec: Recommender) -> None:
    strange = {"x": ["zzz", "yyy"], "y": ["i1", "zzz"], "z": []}
    for call in (lambda: rec.recommend(strange), lambda: rec.score(strange, "i1"), lambda: rec.explain(strange, "i1")):
        with pytest.warns(UserWarning, match="the history of 'x' is of unknown items only"):
            call()
    with pytest.warns(UserWarning, match="unknown"):
        (note,) = rec.recommend(strange, n=1).notes
    assert "'zzz', 'yyy'" in note
    with pytest.warns(UserWarning, match="1 of 2 events were left out: unknown items"):
        rec.update({"somebody": ["i1", "zzz"]})


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"filters": {"title": "no such thing"}}, "no item has title='no such thing'"),
        ({"candidates": ["zz", "yy"]}, "none of the 2 candidates is in the catalog"),
        ({"candidates": {"y": ["i3"]}}, "candidates are given by user, and not for this one"),
        ({"candidates": ["i1"]}, "what the user has already"),
    ],
)
def test_an_empty_list_says_why(rec: Recommender, asked: dict[str, Any], why: str) -> None:
    with pytest.warns(UserWarning, match="no item is left for 'x'"):
        recs = rec.recommend({"x": ["i1"]}, **asked)
    assert len(recs) == 0
    assert why in recs.notes[0]
    assert recs.for_user("x").notes == recs.notes
    assert rec.recommend({"x": ["i1"]}).notes == ()


@pytest.mark.parametrize("users", [{"x": []}, {"x": ["i3"]}, "u0", {"x": [f"i{row}" for row in range(20)]}])
def test_recommend_lists_what_score_scores_best(tiny: Path, toy: ToyShop, rec: Recommender, users: Any) -> None:
    """Also where no channel brings it: each brings one item only."""
    model = replace(rec.model, retrieval=replace(rec.model.retrieval, per_channel=1))
    narrow = rec.with_model(model, rec.config)
    items = list(toy.catalog.item_ids)
    scores = narrow.score(users, items)[0]
    best = [items[row] for row in np.argsort(-scores, kind="stable")]
    listed = [row.item_id for row in narrow.recommend(users, n=4, exclude_seen=False)]
    np.testing.assert_allclose(scores[[items.index(item) for item in listed]], np.sort(scores)[::-1][:4], rtol=1e-4)
    assert listed[0] == best[0]


def test_lines_of_recommendations_are_explained(rec: Recommender, toy: ToyShop) -> None:
    recs = rec.recommend(["u0", "u1"], n=3)
    lines = rec.explain(recs)
    assert [(row.user_id, row.item_id) for row in lines] == [(row.user_id, row.item_id) for row in recs]
    items = {user: [row.item_id for row in recs.for_user(user)] for user in recs.user_ids}
    assert lines.to_json() == rec.explain(["u0", "u1"], items, n=3).to_json()
    visitor = {"visitor": newcomer(toy, 1)}
    theirs = rec.recommend(visitor, n=2)
    assert [row.item_id for row in rec.explain(visitor, theirs)] == [row.item_id for row in theirs]
    with pytest.raises(DataError, match=r"'visitor' is not remembered; write explain\(users, recommendations\)"):
        rec.explain(theirs)


# --- adapters --------------------------------------------------------------------------------------------------------


def test_adapters_without_news_stay(rec: Recommender, mine: Adapters, toy: ToyShop) -> None:
    items = list(toy.catalog.item_ids)
    before = rec.score(mine.user_ids, items, adapters=mine)
    for nothing in ({}, recllm.Interactions.from_mapping({}), {"mia": []}):
        mine.update(nothing)
        assert mine.user_ids == ("mia", "m", "2")
        np.testing.assert_allclose(rec.score(mine.user_ids, items, adapters=mine), before, atol=1e-6)


def test_a_name_is_a_name(mine: Adapters, tmp_path: Path) -> None:
    mine.export(2, tmp_path / "two")
    assert (tmp_path / "two" / "adapter_config.json").exists()
    mine.forget("mia")
    assert mine.user_ids == ("m", "2")
    mine.forget([2.0])
    assert mine.user_ids == ("m",)
    with pytest.raises(DataError, match="nobody named 'nobody' has an adapter here"):
        mine.forget(["nobody"])
    assert mine.user_ids == ("m",)


def test_adapters_of_nobody_work(rec: Recommender, mine: Adapters, toy: ToyShop) -> None:
    visitor = {"v": newcomer(toy, 1)}
    for nobody in (mine.forget({"mia", "m", "2"}), rec.adapt({})):
        assert nobody.user_ids == ()
        start = rec.recommend(visitor, adapt=False).to_json()
        assert rec.recommend(visitor, adapters=nobody).to_json() == start
        nobody.update({"v": visitor["v"]})
        np.testing.assert_allclose(
            rec.score("v", ["i1", "i2"], adapters=nobody), rec.score(visitor, ["i1", "i2"]), atol=1e-5
        )


def test_forgetting_everybody_leaves_the_rest_in_working_order(rec: Recommender, tmp_path: Path) -> None:
    rec.save(tmp_path / "model")
    other = Recommender.load(tmp_path / "model")
    other.forget(other._fitted().memory.log)
    assert len(other.recommend("u0", n=3)) == 3
    assert repr(other) == "Recommender(48 items, 0 users remembered)"
    assert other.update({"u0": ["i1"]}).recommend("u0", n=48).to_dicts()[-1]["rank"] == 47


def test_a_recommender_says_what_it_is() -> None:
    assert repr(Recommender()) == "Recommender(not fitted)"
    assert "\n" not in repr(Recommender())


def test_a_set_is_the_same_in_every_process() -> None:
    code = "from recllm.data.doors import read_users; print(read_users({'m': set('abcdefgh')}).frame.rows())"
    root, found = Path(__file__).parent.parent, set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, check=True)
        found.add(done.stdout)
    assert len(found) == 1


def test_a_file_of_adapters_is_checked_when_it_is_read(rec: Recommender, mine: Adapters, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.numpy import save_file

    mine.save(tmp_path / "mine")
    with safe_open(str(tmp_path / "mine"), framework="numpy") as file:
        metadata, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    name, about = min(name for name in arrays if name.startswith("lora.")), json.loads(metadata["about"])
    damages = {
        "fewer users": ({**arrays, name: arrays[name][:1]}, metadata),
        "another matrix": ({**arrays, "more": arrays[name]}, metadata),
        "no matrix": ({"more": arrays[name]}, metadata),
        "NaN": ({**arrays, name: arrays[name] * np.nan}, metadata),
        "no base": (arrays, {**metadata, "about": json.dumps({"steps": None, "timed": True})}),
        "steps": (arrays, {**metadata, "about": json.dumps(about | {"steps": "many"})}),
        "users": ({**arrays, "users": arrays["events"]}, metadata),
        "events": ({**arrays, "events": arrays["events"][1:]}, metadata),
    }
    for weights, said in damages.values():
        save_file(weights, tmp_path / "damaged", said)
        with pytest.raises(ArtifactError, match="save the adapters again"):
            Adapters.load(tmp_path / "damaged", rec)
