"""Settings by flat names, and what scikit-learn does with them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

from recllm.encoders.history import HistoryEncoderConfig
from recllm.errors import ConfigError, NotFittedError
from recllm.model.config import RecommenderConfig
from recllm.model.params import changed, flat
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import config_for


def test_every_setting_has_a_name() -> None:
    params = Recommender().get_params()
    config = RecommenderConfig()
    assert params["config"] == config
    assert params["text__backbone"] == config.text.backbone
    assert params["history__depth"] == config.history.depth
    assert params["explanation"] is config.explanation or params["explanation"] == config.explanation
    assert Recommender().get_params(deep=False) == {"config": config}


def test_settings_are_set_by_name() -> None:
    rec = Recommender()
    before = rec.config
    assert rec.set_params(history__depth=2, domain="finance", text__max_tokens=48) is rec
    assert (rec.config.history.depth, rec.config.domain, rec.config.text.max_tokens) == (2, "finance", 48)
    assert before == RecommenderConfig(), "the former config is as it was"
    whole = RecommenderConfig(domain="social")
    assert rec.set_params(config=whole, training__steps=7).config.training.steps == 7
    assert rec.config.domain == "social"
    rec.set_params(history__depth=2, history=HistoryEncoderConfig(max_events=9))
    assert rec.config.history == HistoryEncoderConfig(max_events=9, depth=2)
    rec.set_params(adaptation=None)
    with pytest.raises(ConfigError, match=r"adaptation is None .* leave out 'adaptation__epochs'"):
        rec.set_params(adaptation__epochs=1)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"histori__depth": 2}, "no setting 'histori'; did you mean 'history'"),
        ({"history__depht": 2}, r"config.history: there is no setting 'depht'; did you mean 'depth'"),
        ({"xyzzy": 2}, "no setting 'xyzzy'; known are text, history"),
        ({"domain__x": 2}, r"config.domain is 'neutral' and has no settings of its own"),
        ({"history__depth": "two"}, "HistoryEncoderConfig.depth: wanted"),
        ({"config": {"domain": "finance"}}, "config"),
    ],
)
def test_what_is_no_setting_changes_nothing(params: dict[str, Any], message: str) -> None:
    rec = Recommender()
    with pytest.raises(ConfigError, match=message):
        rec.set_params(**params)
    assert rec.config == RecommenderConfig()


@given(st.sets(st.sampled_from(sorted(flat(RecommenderConfig())))))
def test_setting_what_is_there_changes_nothing(names: set[str]) -> None:
    config = RecommenderConfig.demo()
    values = flat(config)
    inside = {name: values[name] for name in names if name in values}
    assert changed(config, inside) == config


@pytest.fixture(scope="module")
def rec(toy: ToyShop, tiny: Path) -> Recommender:
    return Recommender.from_catalog(toy.catalog, config=config_for(tiny, domain="ecommerce"))


def test_scikit_learn_clones_it(rec: Recommender) -> None:
    twin = clone(rec)
    assert twin.config == rec.config
    with pytest.raises(NotFittedError):
        twin.recommend({"mia": []})
    tried = [
        clone(rec).set_params(**params).config.history.depth for params in ParameterGrid({"history__depth": [1, 2]})
    ]
    assert tried == [1, 2]


def test_what_is_fitted_keeps_its_settings(rec: Recommender, toy: ToyShop) -> None:
    said = rec.explain({"mia": toy.catalog.item_ids[:2]}, toy.catalog.item_ids[4]).to_json()
    rec.set_params(domain="finance")
    assert rec.prompts["reason"].name == "reason.ecommerce"
    assert rec.explain({"mia": toy.catalog.item_ids[:2]}, toy.catalog.item_ids[4]).to_json() == said
