"""A baseline from outside the package: one class, one line that makes it known."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

import recllm
from recllm.data.catalog import Catalog
from recllm.errors import ConfigError
from recllm.evaluation import run
from recllm.evaluation.baselines.baseline import Baseline, Known, grid
from recllm.evaluation.baselines.popularity import Popularity
from recllm.evaluation.baselines.registry import BASELINES, register
from recllm.testing import ScorerContract, ToyShop


@dataclass(eq=False, kw_only=True)
class RandomOrder(Baseline):
    """The catalog in an order that says nothing."""

    name = "random order"
    choices = grid(power=(1.0, 2.0))
    power: float = 1.0

    def _fit(self, catalog: Catalog, known: Known) -> None:
        self._order = np.random.default_rng(self.seed).random(len(catalog), dtype=np.float32)

    def _scores(self, known: Known) -> np.ndarray:
        return np.tile(self._order**self.power, (len(known.histories), 1))


class TestRandomOrder(ScorerContract):
    make = staticmethod(lambda: RandomOrder())


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    assert register(RandomOrder) is RandomOrder
    yield
    del BASELINES[RandomOrder.name]


def test_it_is_tuned_and_measured_beside_the_others(toy: ToyShop) -> None:
    report = recllm.evaluate(None, toy.catalog, toy.events, shots=(3,), baselines=["Random Order", "item-kNN"])
    frame = report.to_pandas().query("metric == 'NDCG@10'").set_index("method")
    assert list(frame.index) == ["random order", "item-kNN"]
    assert 0 < frame.value["random order"] < frame.value["item-kNN"] - 0.2
    about = report.about["methods"]["random order"][0]
    assert about["settings tried"] == 2
    assert about["chosen"]["power"] == 1.0, "of equals the first"
    assert report.ours(report.main_places[0]) == (), "a baseline is nothing in question"
    assert report.headline().startswith("item-kNN has the best NDCG@10 at K=3")


def test_all_includes_it() -> None:
    cheap = {name: kind for name, kind in BASELINES.items() if name != "LightGCN"}
    assert run._baseline_names("all", ratings=True) == tuple(cheap), "what takes many minutes has to be asked for"
    assert run._baseline_names(["all", "light gcn", "ease"], ratings=True) == (*cheap, "LightGCN")
    only = {name for name, kind in BASELINES.items() if getattr(kind, "only_ratings", False)}
    assert only == {"user and item bias", "rating kNN"}
    assert run._baseline_names("all", ratings=False) == tuple(name for name in cheap if name not in only)
    assert list(BASELINES)[-1] == "random order"


def test_a_name_is_given_once() -> None:
    class Other(Popularity):  # type: ignore[misc]
        name = "Random-order"

    with pytest.raises(ConfigError, match="there is a baseline 'Random-order' already; give Other another name"):
        register(Other)
    assert BASELINES["random order"] is RandomOrder
