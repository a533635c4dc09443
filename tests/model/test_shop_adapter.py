"""The shop's adapter in a recommender: it learns from what would have been served, is kept, and can be taken back."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel

from recllm.adaptation import drift as drift_module
from recllm.adaptation.support import through_adapters
from recllm.data.histories import Histories
from recllm.data.interactions import Interactions
from recllm.errors import ConfigError, DataError
from recllm.model.model import Model
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.model.test_counted import END, log
from tests.small import config_for, newcomer


@pytest.fixture(scope="module")
def shop(tiny: Path, toy: ToyShop) -> Recommender:
    return Recommender(config_for(tiny)).fit(toy.catalog, toy.events)


@pytest.fixture
def rec(shop: Recommender) -> Recommender:
    return copy.copy(shop)


def fashion(toy: ToyShop, day: int, users: int = 60) -> Interactions:
    """A day on which everybody takes what few took before, whatever their department: what is popular now is right."""
    items = [f"i{(7 * day + place) % len(toy.catalog)}" for place in range(4)]
    rows = [
        (f"day{day}-{user}", item, END + 86_400.0 * day + 60.0 * place, 5.0)
        for user in range(users)
        for place, item in enumerate(items)
    ]
    return log(*rows)


def after(rec: Recommender, toy: ToyShop, days: int) -> Recommender:
    for day in range(days):
        rec.update(fashion(toy, day), adapt="shop")
    return rec


def test_nothing_is_learned_unless_it_is_asked_for(rec: Recommender, toy: ToyShop) -> None:
    head = copy.deepcopy(rec.model.served.state_dict())
    rec.update(fashion(toy, 0))
    assert (rec.adapters.version, rec.adapters.versions) == (0, (0,))
    assert all(torch.equal(value, head[name]) for name, value in rec.model.served.state_dict().items())
    assert repr(rec.adapters) == "ShopAdapters(version 0: the ranking head as it was fitted)"
    with pytest.raises(ConfigError, match="adapt"):
        rec.update(fashion(toy, 1), adapt="user")  # type: ignore[arg-type]


def test_it_goes_where_days_show_a_gain_and_serves(rec: Recommender, toy: ToyShop) -> None:
    before = rec.model.served.weights.bias.clone()
    after(rec, toy, 6)
    assert rec.adapters.version == 6
    assert rec.adapters.drift.in_use
    moved = (rec.model.served.weights.bias - before).detach().numpy()
    np.testing.assert_allclose(moved, rec.adapters.drift.bias, atol=1e-6)
    assert np.abs(moved).max() > 0.01
    users, items = {"x": newcomer(toy, 1)}, list(toy.catalog.item_ids)
    without = rec.with_model(copy.copy(rec.model), rec.config)
    without.model.served = without.model.head
    assert np.abs(rec.score(users, items) - without.score(users, items)).max() > 1e-3


def test_what_it_learns_from_is_asked_before_it_is_counted(
    rec: Recommender, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Model] = []
    tasks_of = __import__("recllm.model.fitted", fromlist=["x"]).tasks_of

    def remembered(model: Model, *args: object, **kwargs: object) -> object:
        asked.append(model)
        return tasks_of(model, *args, **kwargs)

    monkeypatch.setattr("recllm.model.fitted.tasks_of", remembered)
    served = rec.model
    rec.update(fashion(toy, 0), adapt="shop")
    assert asked == [served]
    assert rec.model.channels is not served.channels


def test_it_is_kept_taken_back_and_written_for_peft(rec: Recommender, toy: ToyShop, tmp_path: Path) -> None:
    after(rec, toy, 6)
    rec.save(tmp_path / "model")
    loaded = Recommender.load(tmp_path / "model")
    users, items = {"x": newcomer(toy, 1)}, list(toy.catalog.item_ids)
    np.testing.assert_array_equal(loaded.score(users, items), rec.score(users, items))
    assert loaded.adapters.versions == rec.adapters.versions
    assert loaded.fingerprint == rec.fingerprint, "users' adapters are those of the head as it was fitted"

    rec.adapters.export(tmp_path / "adapter")
    assert {file.name for file in (tmp_path / "adapter").iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    peft = PeftModel.from_pretrained(copy.deepcopy(rec.model.head), str(tmp_path / "adapter"))
    scores, known = torch.randn(3, rec.model.head.channels, 20), torch.tensor([0.0, 3.0, 20.0])
    torch.testing.assert_close(peft(scores, known), rec.model.served(scores, known), atol=1e-5, rtol=1e-5)

    versions, counts = rec.adapters.versions, rec.counts.digest()
    rec.adapters.rollback()
    assert rec.adapters.versions == versions[:-1]
    assert rec.counts.digest() == counts, "what is counted stays"
    while rec.adapters.versions[:-1]:
        rec.adapters.rollback()
    assert torch.equal(rec.model.served.weights.bias, rec.model.head.weights.bias)
    with pytest.raises(DataError, match="taken back"):
        rec.adapters.rollback()


def test_it_is_learned_beside_the_start_of_users_adapters(rec: Recommender, toy: ToyShop) -> None:
    """Without a shop's adapter, and without steps of a user's own, both ways to the scores are one."""
    model = copy.deepcopy(rec.model)
    assert model.learner is not None
    with torch.no_grad():
        for matrix in model.learner.start_matrices:
            matrix += 0.1
    scores, known = torch.randn(4, model.head.channels, 12), torch.tensor([1.0, 2.0, 5.0, 20.0])
    histories = Histories.empty(4)
    lora = model.adapt(histories, steps=0)
    served = through_adapters(model.served(scores, known), scores, lora, torch.arange(4), known)
    torch.testing.assert_close(model.scores_as_fitted(scores, known), served)
    assert rec.adapters.version == 0


def test_an_update_that_fails_leaves_the_adapter_alone(
    rec: Recommender, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rec._fitted()
    monkeypatch.setattr(drift_module.Drift, "step", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        rec.update(fashion(toy, 0), adapt="shop")
    assert rec._fitted() is before


def test_it_survives_new_items_forgetting_and_days_without_news(rec: Recommender, toy: ToyShop) -> None:
    after(rec, toy, 2)
    version = rec.adapters.version
    rec.update(fashion(toy, 1), adapt="shop")
    assert rec.adapters.version == version, "nothing was new"
    rec.forget("day1-0")
    rec.update({"mia": ["i1"]})
    assert rec.adapters.version == version
    assert len(rec.recommend({"x": ["i1"]}, n=3, explain=True)) == 3
    (row,) = rec.recommend({"x": ["i1"]}, n=1, explain=True)
    assert rec.verify_explanation(row).passed
