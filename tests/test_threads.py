"""One recommender asked from many threads, while others change it, answers as it does to one after the other."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from recllm.counts.counts import Counts
from recllm.data.catalog import Catalog
from recllm.data.histories import make_histories
from recllm.data.interactions import Interactions
from recllm.data.memory import Memory
from recllm.encoders.config import BaseTrainingConfig
from recllm.errors import AdapterMismatch
from recllm.model.fitted import Fitted
from recllm.recommender import Recommender
from recllm.testing import ToyShop, toy_shop
from tests.small import config_for, newcomer

THREADS = 8
CALLS = 96
CITIES = ("Bern", "Basel", "Chur", "Wil")
SHORT = BaseTrainingConfig(steps=4, batch_users=16, validate_every=2)


@pytest.fixture
def fitted(tiny: Path, toy: ToyShop, tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    folder = tmp_path_factory.getbasetemp() / "threads"
    if not folder.exists():
        rated = toy.events.frame.with_columns(pl.Series("rating", 4.0 + np.arange(len(toy.events)) % 2))
        config = config_for(tiny, training=SHORT, objective="rating")
        users = [{"user_id": user, "city": CITIES[number]} for user, number in toy.favourite.items()]
        Recommender(config).fit(toy.catalog, Interactions.from_frame(rated), users=users).save(folder)
    return Recommender.load(folder)


def users_of(call: int, toy: ToyShop) -> dict[str, list[str]]:
    items = toy.catalog.item_ids
    return {
        f"v{call}-{who}": [items[(call + who * step) % len(items)] for step in range(1, 2 + call % 4)] for who in (1, 3)
    }


def _rated(users: dict[str, list[str]]) -> dict[str, list[dict[str, object]]]:
    """Each user's last item is rated lower than the others."""
    return {
        user: [{"item_id": item, "rating": 4.0 if item == items[-1] else 5.0} for item in items]
        for user, items in users.items()
    }


def _profiles(users: dict[str, list[str]], call: int) -> list[dict[str, str]]:
    return [{"user_id": user, "city": CITIES[(call + row) % len(CITIES)]} for row, user in enumerate(users)]


def answer(rec: Recommender, call: int, toy: ToyShop) -> Any:
    users = users_of(call, toy)
    asked: list[Callable[[], Any]] = [
        lambda: rec.recommend(users, n=5, explain=call % 8 == 0).to_json(),
        lambda: rec.score(users, ["i1", "i2", "i30"]).round(4).tolist(),
        lambda: rec.recommend(list(users), n=5, adapters=rec.adapt(users)).to_json(),
        lambda: rec.explain(users, ["i5"]).to_json() if call % 8 == 3 else rec.recommend(["u1", "u2"], n=3).to_json(),
        lambda: rec.search(f"thing number {call}", n=3).to_json(),
        lambda: rec.predict_ratings(_rated(users), ["i1", "i2", "i30"]).round(4).tolist(),
        lambda: rec.recommend(users, n=5, by=("rating", "similarity")[call % 2], caps={"title": 1}).to_json(),
        lambda: rec.recommend({user: [] for user in users}, n=5, profiles=_profiles(users, call)).to_json(),
        lambda: rec.similar_items(f"i{call % 40}", n=3, by="together", users=users).to_json(),
    ]
    return asked[call % len(asked)]()


def test_threads_get_what_one_after_the_other_gets(fitted: Recommender, toy: ToyShop) -> None:
    """Others come and go meanwhile who have taken nothing, so that no answer changes."""
    alone = [answer(fitted, call, toy) for call in range(CALLS)]

    def changing(call: int) -> Any:
        fitted.update({f"late{call}": []})
        if call % 3 == 0:
            fitted.forget(f"late{call}")
        return answer(fitted, call, toy)

    with ThreadPoolExecutor(THREADS) as pool:
        together = list(pool.map(changing, range(CALLS)))
    assert together == alone
    late = {f"late{call}" for call in range(CALLS) if call % 3}
    assert late <= set(fitted._fitted().memory.user_ids), "no update is lost to another"
    assert len(fitted._fitted().memory) == len(toy.events.user_ids) + len(late)


def test_an_answer_is_of_one_state_while_counts_move(fitted: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    """What threads are told while others take things is what the recommender of some moment says."""
    items, told, states, updated = list(fitted.catalog.item_ids), [], [fitted._fitted()], Fitted.updated

    def remembered(state: Fitted, events: Interactions, **options: Any) -> tuple[Fitted, tuple[str, ...]]:
        changed, notes = updated(state, events, **options)
        states.append(changed)
        return changed, notes

    monkeypatch.setattr(Fitted, "updated", remembered)

    def asking(call: int) -> None:
        if call % 2:
            fitted.update({f"late{call}": ["i0", f"i{call % len(items)}"]})
        else:
            told.append(fitted.score({"x": ["i3", "i4"]}, items)[0].tobytes())

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(asking, range(CALLS)))
    log, counts = fitted._fitted().memory.log, fitted.counts
    histories = make_histories(log, fitted.catalog, fitted.model.feedback, seed=fitted._fitted().seed)
    assert counts.digest() == Counts.of(histories, len(items), counts.resolution).digest(), "each is counted once"
    possible = set()
    for state in states:
        fitted._state = state
        possible.add(fitted.score({"x": ["i3", "i4"]}, items)[0].tobytes())
    assert set(told) <= possible
    assert len(possible) > CALLS // 4, "counts have moved"


@pytest.fixture
def slow_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between reading what is and putting the next in its place there is time for others."""
    extend = Memory.extend

    def slowly(memory: Memory, events: Interactions) -> Memory:
        changed = extend(memory, events)
        time.sleep(0.002)
        return changed

    monkeypatch.setattr(Memory, "extend", slowly)


@pytest.mark.usefixtures("slow_memory")
def test_no_update_is_lost_to_another(fitted: Recommender) -> None:
    names = [f"late{call}" for call in range(CALLS)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda name: fitted.update({name: ["i0"]}), names))
    assert set(names) <= set(fitted._fitted().memory.user_ids)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(fitted.forget, names[::2]))
    assert set(names) & set(fitted._fitted().memory.user_ids) == set(names[1::2])


@pytest.mark.usefixtures("slow_memory")
def test_nothing_is_lost_of_adapters(fitted: Recommender, toy: ToyShop) -> None:
    mine = fitted.adapt({"mia": newcomer(toy, 0)})
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda call: mine.update(users_of(call, toy)), range(CALLS)))
    everybody = {user: items for call in range(CALLS) for user, items in users_of(call, toy).items()}
    assert set(mine.user_ids) == {"mia", *everybody}
    items = list(toy.catalog.item_ids)
    scores = fitted.score(list(everybody), items, adapters=mine)
    np.testing.assert_allclose(scores, fitted.score(everybody, items), atol=1e-4)


def test_a_call_ends_with_what_it_began_with(fitted: Recommender, toy: ToyShop) -> None:
    """The users are read in the midst of the call, and reading them changes the recommender and the adapters."""
    mine = fitted.adapt({"mia": newcomer(toy, 1)})
    before = {
        "plain": fitted.recommend(["u0"], n=60, exclude_seen=False).to_json(),
        "adapters": fitted.recommend(["mia"], n=5, adapters=mine, explain=True).to_json(),
    }

    def in_the_midst(user: str, change: Callable[[], Any]) -> Iterator[str]:
        change()
        yield user

    state = fitted._fitted()
    more = Catalog.from_frame(pl.DataFrame({"item_id": ["n0"], "title": ["garden thing number 1"]}))
    for change in (
        lambda: fitted.update({"u0": ["i40"]}),
        lambda: fitted.add_items(more),
        lambda: fitted.forget("u0"),
    ):
        assert fitted.recommend(in_the_midst("u0", change), n=60, exclude_seen=False).to_json() == before["plain"]
        assert fitted.recommend("u0", n=60, exclude_seen=False).to_json() != before["plain"]
        fitted._state = state
    found = fitted.recommend(
        in_the_midst("mia", lambda: mine.forget("mia")), n=5, adapters=mine, explain=True
    ).to_json()
    assert found == before["adapters"]
    assert mine.user_ids == ()


def test_adapters_are_of_one_model(tiny: Path, fitted: Recommender, toy: ToyShop) -> None:
    mine = fitted.adapt({"mia": newcomer(toy, 1)})
    other = Recommender(config_for(tiny, training=SHORT)).fit(toy_shop(users=30).catalog, toy_shop(users=30).events)
    with pytest.raises(AdapterMismatch, match="adapt the users again"):
        other.recommend(["mia"], adapters=mine)
    fitted._state = other._state
    with pytest.raises(AdapterMismatch, match="fitted again"):
        mine.update({"mia": ["i1"]})
