"""Histories of who is asked about are put in order once, whoever else asks meanwhile."""

import pytest

from recllm.model import asked
from recllm.model.asked import histories_of
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import config_for


class _Emptied(dict):  # type: ignore[type-arg]
    """What is held, thrown out by another thread as soon as somebody has looked whether it is there."""

    def __contains__(self, user: object) -> bool:
        self.held.histories = {}
        return super().__contains__(user)

    held: asked._Held


def test_what_another_thread_throws_out_is_still_an_answer(tiny, toy: ToyShop) -> None:
    state = Recommender.from_catalog(toy.catalog, config=config_for(tiny)).update(toy.events).fitted
    users = list(state.memory.user_ids[:4])
    first, _ = histories_of(state, users)
    held = state.once(asked._Held)
    assert set(held.histories) == set(users)
    emptied = _Emptied(held.histories)
    emptied.held = held
    held.histories = emptied
    again, _ = histories_of(state, users[::-1])
    assert again.user_ids == first.user_ids[::-1]
    assert [again.items_of(row).tolist() for row in range(4)] == [first.items_of(3 - row).tolist() for row in range(4)]
    stranger, _ = histories_of(state, ["nobody", users[0]])
    assert (stranger.lengths[0], "nobody" in held.histories) == (0, False), "of strangers nothing is held"


def test_a_visitor_with_a_list_of_items_waits_for_no_data_frame(
    tiny, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    rec = Recommender.from_catalog(toy.catalog, config=config_for(tiny)).update(toy.events)
    ids = list(toy.catalog.item_ids[:3])
    wanted = rec.recommend({"visitor": [{"item_id": item} for item in ids]}).to_dicts()
    monkeypatch.setattr(asked, "read_users", lambda *_, **__: pytest.fail("it was read with care"))
    assert rec.recommend({"visitor": ids}).to_dicts() == wanted
