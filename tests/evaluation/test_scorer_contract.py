"""The contract holds for what it should hold for, and sees what is broken."""

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recllm.adaptation.meta import AdaptationConfig
from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.encoders.config import BaseTrainingConfig
from recllm.encoders.history import HistoryEncoderConfig
from recllm.encoders.text import TextEncoderConfig
from recllm.evaluation.baselines.popularity import Popularity
from recllm.model.config import RecommenderConfig
from recllm.recommender import Recommender
from recllm.testing import ScorerContract
from tests.small import QUICK_HEAD


class ShortIds:
    """Needs no fit and knows its items by heart: shorter ids first."""

    def score(self, users: Interactions, item_ids: Sequence[str]) -> np.ndarray:
        row = [-len(item) if item[1:].isdigit() else np.nan for item in item_ids]
        return np.tile(np.array(row, dtype=np.float32), (len(users.user_ids), 1))


class TestAScorerWithoutFit(ScorerContract):
    make = staticmethod(lambda: ShortIds())


@pytest.mark.slow
class TestRecommender(ScorerContract):
    @pytest.fixture(autouse=True)
    def _tiny(self, tiny: Path) -> None:
        config = RecommenderConfig(
            text=TextEncoderConfig(backbone=str(tiny)),
            history=HistoryEncoderConfig(max_events=8, lora_rank=4),
            training=BaseTrainingConfig(steps=4, batch_users=16, validate_every=2),
            ranking=QUICK_HEAD,
            adaptation=AdaptationConfig(epochs=1, batch_users=8, folds=2),
        )
        type(self).make = staticmethod(lambda: Recommender(config))


# Each of these breaks one promise; the test that must see it stands beside it.


class Broken:
    """Popularity with one fault."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.inner = Popularity()
        self.calls = 0

    def fit(self, catalog: Catalog, events: Interactions) -> "Broken | None":
        if self.fault != "fits once" or not self.calls:
            self.inner.fit(catalog, events)
        self.calls += 1
        return None if self.fault == "returns nothing" else self

    def score(self, users: Interactions, item_ids: list[str]) -> np.ndarray:
        self.calls += 1
        scores = self.inner.score(users, item_ids) + np.arange(len(users.user_ids), dtype=np.float32)[:, None] * 0
        owned = np.array([(users.frame["user_id"] == user).sum() for user in users.user_ids], dtype=np.float32)
        scores += owned[:, None] / 100
        return FAULTS[self.fault][1](self, scores, users, item_ids)


def drop_item(scores: np.ndarray, item_ids: list[str]) -> np.ndarray:
    item_ids.reverse()
    return scores


FAULTS: dict[str, tuple[str, Callable[[Broken, np.ndarray, Interactions, list[str]], np.ndarray]]] = {
    "wide": ("float32_users", lambda b, s, u, i: s.astype(np.float64)),
    "one user short": ("float32_users", lambda b, s, u, i: s[1:]),
    "nan": ("every_item", lambda b, s, u, i: np.where(np.arange(len(i)) == 0, np.float32("nan"), s)),
    "infinite": ("every_item", lambda b, s, u, i: np.where(np.arange(len(i)) == 0, np.float32("inf"), s)),
    "silent zero": ("unknown_item", lambda b, s, u, i: np.nan_to_num(s)),
    "sorts users": ("rows_follow", lambda b, s, u, i: s[np.argsort(u.user_ids)]),
    "sorts items": ("columns_follow", lambda b, s, u, i: s[:, np.argsort(i)]),
    "no newcomers": ("without_events", lambda b, s, u, i: s if len(u.frame) else s * -np.inf),
    "drifts": ("twice", lambda b, s, u, i: s + np.float32(b.calls)),
    "relative": ("each_other", lambda b, s, u, i: s - s.mean(axis=0)),
    "knows names": ("new_name", lambda b, s, u, i: s + np.float32(len(u.user_ids[0]))),
    "changes ids": ("nothing_given", lambda b, s, u, i: drop_item(s, i)),
    "fits once": ("fitted_again", lambda b, s, u, i: s),
    "returns nothing": ("fitted_again", lambda b, s, u, i: s),
    "none": ("", lambda b, s, u, i: s),
}


def failures(contract: ScorerContract) -> list[str]:
    failed = []
    for name, test in inspect.getmembers(type(contract), inspect.isfunction):
        if name.startswith("test_"):
            try:
                test(contract)
            except AssertionError:
                failed.append(name)
    return failed


@pytest.mark.parametrize("fault", FAULTS)
def test_the_contract_sees(fault: str) -> None:
    broken: Any = type("TestBroken", (ScorerContract,), {"make": staticmethod(lambda: Broken(fault))})
    failed = failures(broken())
    expected = FAULTS[fault][0]
    if expected:
        assert any(expected in name for name in failed), failed
    else:
        assert failed == []


def test_the_contract_sees_a_save_that_forgets() -> None:
    class Forgetful(Popularity):  # type: ignore[misc]
        name = "forgetful"

        def save(self, folder: Path) -> None:
            folder.mkdir()

        @classmethod
        def load(cls, folder: Path) -> Popularity:
            shop = ScorerContract().shop
            return Popularity().fit(shop.catalog, shop.events.of_users(shop.events.user_ids[:3]))

    broken: Any = type("TestForgetful", (ScorerContract,), {"make": staticmethod(lambda: Forgetful())})
    assert failures(broken()) == ["test_what_is_saved_is_what_is_loaded"]
