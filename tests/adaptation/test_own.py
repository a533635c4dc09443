"""A shop's own step from its prior: as far as its users say, and no farther."""

import dataclasses
from pathlib import Path

import numpy as np
import peft
import pytest
import torch

from recllm.adaptation.drift import Drift
from recllm.adaptation.own import OwnStep
from recllm.adaptation.shop import ShopAdapters
from recllm.artifact.arrays import SavedArrays
from recllm.errors import ArtifactError, ConfigError, DataError
from recllm.ranking.head import RankingConfig, RankingHead
from recllm.ranking.objective import RankingTasks

CHANNELS, ITEMS, TELLER = 4, 30, 2


def prior_head() -> RankingHead:
    torch.manual_seed(0)
    made = RankingHead(CHANNELS, RankingConfig(hidden=4))
    with torch.no_grad():
        made.output.weight.normal_(std=0.2)
    return made.requires_grad_(False)


def tasks(users: int, seed: int, each: int = 1, teller: int | None = TELLER) -> RankingTasks:
    """What is next is told by one channel, or by chance; each user is asked so many times."""
    generator = torch.Generator().manual_seed(seed)
    count = users * each
    scores = torch.randn(count, CHANNELS, ITEMS, generator=generator)
    wanted = torch.zeros(count, ITEMS) if teller is None else 2 * scores[:, teller]
    taken = torch.multinomial(wanted.softmax(dim=1), 1, generator=generator)
    target = torch.zeros(count, ITEMS).scatter_(1, taken, 1.0)
    known = torch.randint(1, 20, (count,), generator=generator).float()
    owners = torch.arange(users).repeat_interleave(each)
    return RankingTasks(scores, known, target, torch.ones(count), torch.arange(ITEMS).expand(count, ITEMS), owners)


def loss(head: RankingHead, asked: RankingTasks) -> float:
    return float(asked.losses(head(asked.scores, asked.known)).mean())


def test_it_goes_where_the_shop_is_and_helps_users_it_was_not_learned_from() -> None:
    own = OwnStep.learn(prior_head(), tasks(300, seed=1))
    assert own.added[:, -1].argmax() == TELLER
    assert (own.users, own.tasks) == (300, 300)
    others = tasks(300, seed=2)
    assert loss(own.applied(prior_head()), others) < loss(prior_head(), others) - 0.1


def test_the_fewer_users_say_so_the_nearer_it_stays_to_the_prior() -> None:
    sizes = [OwnStep.learn(prior_head(), tasks(users, seed=3)).size for users in (5, 50, 500)]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.7 * sizes[-1]


def test_tasks_of_one_user_count_as_one() -> None:
    once = tasks(20, seed=4)
    often = RankingTasks.concatenate([once] * 10)
    step, again = OwnStep.learn(prior_head(), once), OwnStep.learn(prior_head(), often)
    assert (again.tasks, again.users) == (200, 20)
    # The scale of all scores, which is fitted along and thrown away, is held by the same small pull in both.
    assert np.linalg.norm(again.added - step.added) < 0.25 * step.size


def test_of_chance_it_learns_next_to_nothing() -> None:
    heads = OwnStep.learn(prior_head(), tasks(200, seed=5, teller=None))
    assert heads.size < OwnStep.learn(prior_head(), tasks(200, seed=5)).size


def test_without_tasks_the_head_is_the_priors() -> None:
    own = OwnStep.learn(prior_head(), RankingTasks.none(CHANNELS, ITEMS))
    assert (own.size, str(own)) == (0.0, "the shop prior alone")
    asked = tasks(5, seed=6)
    assert torch.equal(own.applied(prior_head())(asked.scores, asked.known), prior_head()(asked.scores, asked.known))


def test_what_is_known_of_its_worth_is_said() -> None:
    assert str(OwnStep(np.full((CHANNELS, 3), 0.1), 90, 30, 0.05, 0.01)) == (
        "the shop prior and a step of length 0.35 of the shop's own, from 30 users; "
        "worth +5.0% [+3.0%, +7.0%] over the prior alone, for users it was not learned from"
    )


@pytest.mark.parametrize("worth", [(None, None), (0.05, 0.01)])
def test_saved_it_is_the_same(worth: tuple[float | None, float | None]) -> None:
    own = OwnStep(np.arange(CHANNELS * 3.0).reshape(CHANNELS, 3), 90, 30, *worth)
    again = OwnStep.from_tensors(SavedArrays("own", own.tensors()), CHANNELS, 4)
    assert np.array_equal(again.added, own.added)
    assert (again.tasks, again.users, again.gain, again.error) == (90, 30, *worth)
    with pytest.raises(ArtifactError):
        OwnStep.from_tensors(SavedArrays("own", own.tensors()), CHANNELS + 1, 4)


@pytest.mark.parametrize(("changes", "said"), [({"alone": 1.0}, "alone"), ({"hidden": 5}, "5 hidden units")])
def test_one_that_its_head_cannot_have_is_refused(changes: dict[str, float], said: str) -> None:
    damaged = dataclasses.replace(OwnStep(np.zeros((CHANNELS, 3)), 90, 30), **changes)
    with pytest.raises(ArtifactError, match=said):
        OwnStep.from_tensors(SavedArrays("own", damaged.tensors()), CHANNELS, 4)


def adapters(own: OwnStep | None) -> ShopAdapters:
    drift = Drift.none(CHANNELS)
    return ShopAdapters(drift, "f" * 64, lambda change: change(drift), own)


def test_exported_it_is_a_lora_that_peft_puts_onto_the_priors_head(tmp_path: Path) -> None:
    own, asked = OwnStep.learn(prior_head(), tasks(100, seed=7)), tasks(10, seed=8)
    adapters(own).export(tmp_path / "own", since="prior")
    loaded = peft.PeftModel.from_pretrained(prior_head(), str(tmp_path / "own"))
    expected = own.applied(prior_head())(asked.scores, asked.known)
    assert not torch.allclose(expected, prior_head()(asked.scores, asked.known), atol=1e-2)
    torch.testing.assert_close(loaded(asked.scores, asked.known), expected, rtol=1e-5, atol=1e-5)


def test_what_is_not_there_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fitted without a shop prior"):
        adapters(None).export(tmp_path / "own", since="prior")
    with pytest.raises(ConfigError, match="since='yesterday'"):
        adapters(None).export(tmp_path / "own", since="yesterday")  # type: ignore[arg-type]
    assert not (tmp_path / "own").exists()
