"""Whatever is added, replaced and erased in whatever order: the store holds what a dictionary would."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.errors import ConflictError
from recllm.serve.state.records import Event, Stored
from recllm.serve.state.store import Store
from tests.serve.state.conftest import new_place
from tests.serve.state.world import add, event

IDS, USERS, ITEMS = ["a", "b", "c", "d"], ["ann", "bob", ""], ["lamp", "mug"]

events = st.builds(
    event, st.sampled_from(IDS), st.sampled_from(USERS), st.sampled_from(ITEMS), st.sampled_from([1.0, 2.5])
)
adding = st.tuples(st.sampled_from(["add", "replace"]), st.lists(events, max_size=4))
erasing = st.tuples(st.just("erase"), st.sampled_from(USERS))
again = st.tuples(st.just("open again"), st.none())


@dataclass
class Model:
    kept: dict[str, Stored] = field(default_factory=dict)
    last: int = 0

    def add(self, some: list[Event], replace: bool) -> tuple[list[Stored], int, list[tuple[Event, Stored]]]:
        kept, last = dict(self.kept), self.last
        new, known, replaced = [], 0, []
        for one in some:
            old = kept.get(one.event_id)
            if old is None:
                last += 1
                kept[one.event_id] = Stored(last, one)
                new.append(kept[one.event_id])
            elif old.event == one:
                known += 1
            elif replace:
                kept[one.event_id] = Stored(old.number, one)
                replaced.append((old.event, kept[one.event_id]))
            else:
                raise ConflictError
        self.kept, self.last = kept, last
        return new, known, replaced

    def erase(self, user: str) -> int:
        gone = [name for name, one in self.kept.items() if one.event.user_id == user]
        for name in gone:
            del self.kept[name]
        return len(gone)


def same(store: Store, model: Model) -> None:
    expected = sorted(model.kept.values())
    assert store.events_after(0) == expected
    assert store.last_event == model.last
    for user in USERS:
        assert store.events_of(user) == [one for one in expected if one.event.user_id == user]
    for item in ITEMS:
        assert store.events_about([item]) == [one for one in expected if one.event.item_id == item]


steps_of_a_life = st.lists(st.one_of(adding, adding, adding, erasing, again), max_size=12)


@settings(max_examples=60)
@given(steps_of_a_life)
def test_a_file_is_a_dictionary(request: pytest.FixtureRequest, steps: list[tuple[str, object]]) -> None:
    lives("sqlite", request, steps)


@settings(max_examples=15)
@given(steps_of_a_life)
def test_a_database_is_a_dictionary(request: pytest.FixtureRequest, steps: list[tuple[str, object]]) -> None:
    lives("postgres", request, steps)


def lives(kind: str, request: pytest.FixtureRequest, steps: list[tuple[str, object]]) -> None:
    with new_place(kind, request) as opens:
        store, model = opens(), Model()
        for name, what in steps:
            if name == "open again":
                store.close()
                store = opens()
            elif name == "erase":
                assert isinstance(what, str)
                told = store.write(lambda change, user=what: change.erase_user(user)).result(10)  # type: ignore[misc]
                assert told["events"] == model.erase(what)
            else:
                assert isinstance(what, list)
                try:
                    expected = model.add(what, name == "replace")
                except ConflictError:
                    expected = None
                try:
                    added = add(store, *what, replace=name == "replace")
                    found = (list(added.new), added.known, list(added.replaced))
                except ConflictError:
                    found = None
                assert found == expected
            same(store, model)
