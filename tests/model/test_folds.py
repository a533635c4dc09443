"""A fit that reserves nobody: everybody is learned from, and asked by channels that have not counted them."""

import dataclasses
from pathlib import Path

import numpy as np
import peft
import pytest
import torch

from recllm.adaptation.own import PULL, OwnStep
from recllm.adaptation.prior import open_prior
from recllm.adaptation.statistics import shop_statistics
from recllm.counts.counts import Counts
from recllm.data.histories import make_histories
from recllm.data.interactions import Interactions
from recllm.encoders.config import BaseTrainingConfig
from recllm.errors import ArtifactError
from recllm.model.config import RecommenderConfig
from recllm.model.fit import base as base_stage
from recllm.model.fit import head as head_stage
from recllm.model.fit import run as run_module
from recllm.model.fit.folds import PARTS, Folds
from recllm.model.fit.run import FitRun
from recllm.model.fit.text import fit_text
from recllm.options import TrainOptions
from recllm.ranking.head import RankingConfig, RankingHead
from recllm.ranking.objective import RankingTasks
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import QUICK_HEAD, config_for, newcomer


def config(tiny: Path, **changes: object) -> RecommenderConfig:
    training = BaseTrainingConfig(steps=3, batch_users=16, validate_every=2)
    return config_for(
        tiny, **({"adaptation": None, "training": training, "ranking": QUICK_HEAD, "prior": "shop-prior"} | changes)
    )


@pytest.fixture(scope="module")
def rec(tiny: Path, toy: ToyShop) -> Recommender:
    return Recommender(config(tiny)).fit(toy.catalog, toy.events)


@pytest.fixture(scope="module")
def run(tiny: Path, toy: ToyShop) -> FitRun:
    return FitRun(config(tiny), toy.catalog, toy.events, TrainOptions())


@pytest.fixture(scope="module")
def folds(run: FitRun) -> Folds:
    _, texts = fit_text(run)
    return Folds.of(run, texts)


def test_every_user_is_learned_from_and_asked_once(run: FitRun, folds: Folds) -> None:
    asked = [user for part, _ in folds.parts for user in part.user_ids]
    assert len(folds.parts) == PARTS
    assert sorted(asked) == sorted(run.base.user_ids)
    assert len(run.base) == run.report.counts["users"] == 80


def test_no_part_is_asked_by_channels_that_have_counted_it(run: FitRun, folds: Folds) -> None:
    for asked, channels in folds.parts:
        others = run.base.of(
            np.array([row for row, user in enumerate(run.base.user_ids) if user not in asked.user_ids])
        )
        counts = Counts.of(others, len(run.catalog), run.counts.resolution)
        again = channels.renewed(counts, run.config.retrieval)
        for name, array in again.tensors().items():
            np.testing.assert_array_equal(channels.tensors()[name], array, err_msg=name)
        assert channels.popularity.liked.sum() == others.n_events < run.base.n_events


def test_settings_are_those_that_were_best_over_all_parts(run: FitRun, folds: Folds) -> None:
    assert {channels.settings["cooccurrence λ"] for _, channels in folds.parts} == {folds.chosen["cooccurrence λ"]}
    assert folds.chosen["cooccurrence λ"] in run.config.retrieval.regularisation
    assert 0 <= folds.figures["cooccurrence λ"] <= 1


def test_the_fit_says_what_the_ranking_is_and_what_it_is_worth(rec: Recommender) -> None:
    counts, figures = rec.report.counts, rec.report.figures
    assert (counts["base users"], counts["head users"]) == (80, 0)
    assert rec.report.chosen["ranking"] == str(rec.model.own)
    assert rec.report.chosen["ranking"].startswith("the shop prior and a step of length")
    assert figures["ranking"] == figures["shop prior and own users"] > figures["popularity"]
    assert any("every user was learned from" in note for note in rec.report.notes)


def test_what_the_step_is_worth_is_asked_of_users_it_was_not_learned_from(
    tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned_from = []
    learn = OwnStep.learn

    def watched(start: RankingHead, tasks: RankingTasks) -> OwnStep:
        learned_from.append(len(tasks.users.unique()))
        return learn(start, tasks)

    monkeypatch.setattr(OwnStep, "learn", watched)
    rec = Recommender(config(tiny)).fit(toy.catalog, toy.events)
    assert learned_from == [60, 60, 60, 60, 80], "each quarter by the other three, and then everybody"
    assert rec.model.own is not None
    assert rec.model.own.users == 80


def test_what_the_shop_adds_stands_beside_what_the_prior_says(rec: Recommender, run: FitRun, tmp_path: Path) -> None:
    own, model = rec.model.own, rec.model
    assert own is not None
    assert own.size > 0.01
    assert own.alone == pytest.approx(80 / (80 + PULL))
    names = model.channels.names
    prior = open_prior("shop-prior").head(run.statistics(names), names, RankingConfig())
    scores, known = torch.randn(3, len(names), 5), torch.tensor([0.0, 3.0, 9.0])
    torch.testing.assert_close(model.prior_head(scores, known), prior(scores, known), rtol=1e-4, atol=1e-4)
    rec.adapters.export(tmp_path / "step", since="prior")
    loaded = peft.PeftModel.from_pretrained(model.prior_head, str(tmp_path / "step"))
    torch.testing.assert_close(loaded(scores, known), own.applied(prior)(scores, known), rtol=1e-4, atol=1e-4)
    assert model.head.config.hidden == prior.config.hidden + rec.config.ranking.hidden


def test_the_transformer_is_believed_as_far_as_the_prior_says(rec: Recommender) -> None:
    """A head that was fitted to what it has read could only believe it too much."""
    own, head, place = rec.model.own, rec.model.head, rec.model.channels.names.index("history")
    assert own is not None
    assert own.start is not None
    assert not own.added[place].any()
    found = np.append(head.weights.weight[place].numpy(), float(head.weights.bias[place]))
    np.testing.assert_allclose(found, own.start[place], rtol=1e-4)
    alone = slice(own.hidden, None)
    assert not head.hidden.weight[alone, place].any()
    assert head.hidden.weight[: own.hidden, place].any()


def test_the_transformer_gets_as_many_steps_as_helped_shops_of_that_size(
    tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_stage, "UNWATCHED_STEPS", 2)
    monkeypatch.setattr(base_stage, "EVENTS_PER_STEP", 200)
    training = BaseTrainingConfig(steps=50, batch_users=16, validate_every=50)
    rec = Recommender(config(tiny, training=training)).fit(toy.catalog, toy.events)
    assert rec.report.curves["base"][-1][0] == 2 + 800 // 200


def test_what_the_transformer_has_read_does_not_ask_it(
    tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been trained on those who are asked, so that its answers would be too good."""

    def refuse(*_: object) -> None:
        raise AssertionError("the transformer was asked about users whom it was trained on")

    monkeypatch.setattr(head_stage, "encode_users", refuse)
    steps: list[RankingTasks] = []
    monkeypatch.setattr(
        OwnStep, "learn", classmethod(lambda cls, start, tasks: steps.append(tasks) or cls.none(start.channels))
    )
    rec = Recommender(config(tiny)).fit(toy.catalog, toy.events)
    place = rec.model.channels.names.index("history")
    assert steps
    assert not any(tasks.scores[:, place].nan_to_num(0.0).any() for tasks in steps)


def test_saved_and_loaded_it_ranks_as_before(rec: Recommender, toy: ToyShop, tmp_path: Path) -> None:
    users, items = {"x": newcomer(toy, 1), "nobody": []}, list(toy.catalog.item_ids)
    rec.save(tmp_path / "model")
    loaded = Recommender.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score(users, items), rec.score(users, items))
    assert str(loaded.model.own) == str(rec.model.own)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "## How it ranks\nBy the shop prior and a step of length" in card
    assert "| what is popular |" in card


def test_where_there_are_enough_users_some_are_reserved_again(
    tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run_module, "FEWEST_TO_RESERVE", 80)
    monkeypatch.setattr(run_module, "FEWEST_EVENTS_TO_RESERVE", 801)
    assert not FitRun(config(tiny), toy.catalog, toy.events, TrainOptions()).reserves, "800 events are too few"
    monkeypatch.setattr(run_module, "FEWEST_EVENTS_TO_RESERVE", 800)
    rec = Recommender(config(tiny)).fit(toy.catalog, toy.events)
    assert rec.report.counts["head users"] > 0
    assert rec.model.own is not None
    users = rec.report.counts["head users"]
    assert rec.model.own.users == users
    assert rec.model.own.alone == pytest.approx(users / (users + PULL))
    assert f"and for {rec.model.own.alone:.0%} a head that knows this shop only" in rec.report.chosen["ranking"]
    rec.save(tmp_path / "model")
    loaded, whom = Recommender.load(tmp_path / "model"), {"x": newcomer(toy, 1)}
    items = list(toy.catalog.item_ids)
    np.testing.assert_array_equal(loaded.score(whom, items), rec.score(whom, items))


@pytest.mark.parametrize("users", [1, 2, 6])
def test_the_smallest_shops_are_ranked_by_the_prior(tiny: Path, toy: ToyShop, users: int) -> None:
    few = toy.events.of_users(list(toy.events.user_ids[:users]))
    rec = Recommender(config(tiny)).fit(toy.catalog, few)
    lists = rec.recommend({"x": newcomer(toy, 1), "nobody": []}, n=5)
    assert len(lists.to_pandas()) == 10
    if users == 1:
        assert str(rec.model.own) == "the shop prior alone"


def test_a_log_without_anything_liked_is_ranked_too(tiny: Path, toy: ToyShop) -> None:
    frame = toy.events.frame.select("user_id", "item_id", "timestamp").with_columns(rating=2.0)
    rec = Recommender(dataclasses.replace(config(tiny), liked_from=4)).fit(toy.catalog, Interactions.from_frame(frame))
    assert len(rec.recommend({"x": newcomer(toy, 1)}, n=5).to_pandas()) == 5


def test_a_prior_that_is_not_there_is_told_before_anything_is_done(tiny: Path, toy: ToyShop) -> None:
    with pytest.raises(ArtifactError, match="there is no shop prior 'mine'"):
        Recommender(config(tiny, prior="mine")).fit(toy.catalog, toy.events)


def test_a_catalog_without_events_gets_the_priors_head_and_learns_by_update(tiny: Path, toy: ToyShop) -> None:
    rec = Recommender.from_catalog(toy.catalog, config=config(tiny))
    assert str(rec.model.own) == "the shop prior alone"
    untaught = rec.model.channels.names.index("history")
    assert not rec.model.head.weights.weight[untaught].any()
    assert not rec.model.head.hidden.weight[:, untaught].any()
    user, own = {"x": newcomer(toy, 1)}, {toy.catalog.item_ids[row] for row in np.flatnonzero(toy.department == 1)}
    rec.update(toy.events)
    after = rec.recommend(user, n=5).to_pandas()["item_id"]
    assert len(own & set(after)) >= 3
    histories = make_histories(toy.events, toy.catalog, rec.model.feedback)
    shop = shop_statistics(histories, len(toy.catalog), rec.model.channels.names[1:])
    names = ("", *rec.model.channels.names[1:])
    grown = open_prior("shop-prior").head(shop, names, RankingConfig())
    assert torch.equal(rec.model.head.weights.bias, grown.weights.bias), "of the shop as it has become"


def test_the_heads_of_all_parts_share_the_time_of_one(
    tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    monkeypatch.setattr(head_stage, "fit_head", lambda *_, seconds, **__: given.append(seconds))
    Recommender(config(tiny)).fit(toy.catalog, toy.events, options=TrainOptions(budget="60s"))
    assert len(given) == PARTS + 1
    assert 0 < sum(given) <= head_stage.HEAD_SHARE * 60


def test_who_judges_tuned_texts_in_vain_is_learned_from_like_everybody(
    tiny: Path, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = FitRun(config(tiny, finetune="lora"), toy.catalog, toy.events, TrainOptions())
    assert run.reserves
    assert len(run.validation.query) > 0, "somebody has to say whether tuning pays"
    monkeypatch.setattr("recllm.encoders.finetuning.tuner.TextTuner.run", lambda self, seconds: None)
    fit_text(run)
    assert not run.reserves
    assert len(run.base) == run.report.counts["base users"] == 80
    assert run.warm.sum() == len(set(run.histories.item_rows.tolist()))
    shop = FitRun(config(tiny, finetune="lora", prior=None), toy.catalog, toy.events, TrainOptions())
    fit_text(shop)
    assert shop.reserves, "without a prior nobody could make up for them"
