"""The head learns whom to believe, and that it depends on how much is known."""

from collections.abc import Callable

import pytest
import torch

from recllm.errors import ConfigError
from recllm.ranking import fit as heads
from recllm.ranking.fit import fit_head
from recllm.ranking.head import RankingConfig, RankingHead, history_features
from recllm.ranking.objective import RankingTasks


def tasks(count: int = 300, items: int = 40, seed: int = 0) -> RankingTasks:
    """Channel 0 is right when little is known, channel 1 when much is; channel 2 is noise."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(count, 3, items, generator=generator)
    known = torch.where(torch.rand(count, generator=generator) < 0.5, 1.0, 20.0)
    truth = torch.where(known == 1, 0, 1)
    best = scores[torch.arange(count), truth].topk(3, dim=1).indices
    target = torch.zeros(count, items).scatter_(1, best, 1 / 3)
    rows = torch.arange(items).expand(count, items)
    return RankingTasks(scores, known, target, torch.ones(count), rows, torch.arange(count))


def lines_of(scores: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """From rows of a catalog to what its scores say of them."""
    return lambda rows: scores.gather(2, rows.unsqueeze(1).expand(-1, scores.shape[1], -1))


def hit_rate(head: RankingHead, held: RankingTasks) -> float:
    with torch.no_grad():
        best = head(held.scores, held.known).argmax(dim=1)
    return float((held.target.gather(1, best[:, None]) > 0).float().mean())


def test_the_head_learns_whom_to_believe() -> None:
    torch.manual_seed(0)
    head, held = RankingHead(3, RankingConfig(epochs=60)), tasks(seed=1)
    before = hit_rate(head, held)
    fit_head(head, tasks(), seed=0)
    assert before < 0.75
    assert hit_rate(head, held) > 0.9


def test_unfitted_it_is_a_plain_sum() -> None:
    head = RankingHead(3, RankingConfig())
    scores = torch.randn(2, 3, 5)
    torch.testing.assert_close(head(scores, torch.tensor([0.0, 9.0])), scores.sum(dim=1) * 0.5)


def test_a_score_depends_on_its_item_alone() -> None:
    torch.manual_seed(0)
    head = RankingHead(3, RankingConfig())
    fit_head(head, tasks(60), seed=0)
    scores, known = torch.randn(2, 3, 8), torch.tensor([1.0, 5.0])
    order = torch.randperm(8)
    torch.testing.assert_close(head(scores, known)[:, order], head(scores[:, :, order], known))


def test_served_a_few_users_and_items_at_a_time_scores_are_those_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head = RankingHead(3, RankingConfig(hidden=5))
    torch.nn.init.normal_(head.output.weight)
    for users, items in ((0, 4), (1, 1), (11, 7), (3, 40)):
        scores, known = torch.randn(users, 3, items), torch.arange(users).float()
        wanted = head(scores, known).detach()
        for held in (1, 5 * 7, 10**6):
            monkeypatch.setattr("recllm.ranking.head.HELD", held)
            with torch.no_grad():
                torch.testing.assert_close(head(scores, known), wanted)


def test_same_seed_same_head() -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        head = RankingHead(3, RankingConfig(epochs=3))
        fit_head(head, tasks(50), seed=0)
        found.append(head.output.weight)
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_config_errors() -> None:
    with pytest.raises(ConfigError, match="reserved"):
        RankingConfig(reserved=0.9)


def test_lists_hold_all_targets_and_no_seen_item() -> None:
    full, generator = tasks(30), torch.Generator().manual_seed(0)
    eligible = torch.rand(full.target.shape, generator=generator) < 0.7
    eligible |= full.target > 0
    listed = RankingTasks.listing(lines_of(full.scores), full.known, eligible, full.target, full.users, 20, generator)
    torch.testing.assert_close(listed.target.sum(dim=1), torch.ones(30))
    seen = {float(value) for value in full.scores[:, 0][~eligible]}
    assert not seen & {float(value) for value in listed.scores[:, 0].ravel()}
    others = (eligible & (full.target == 0)).sum(dim=1)
    torch.testing.assert_close(listed.rest * 17, others.float())
    short = torch.zeros_like(eligible)
    short[:, :5] = True
    short |= full.target > 0
    few = RankingTasks.listing(lines_of(full.scores), full.known, short, full.target, full.users, 40, generator)
    equal = few.losses(torch.zeros(few.target.shape))
    torch.testing.assert_close(equal, short.sum(dim=1).float().log(), msg="only what is eligible counts")
    assert fit_head(RankingHead(3, RankingConfig(epochs=1)), few, seed=0) < float(equal.mean())


def test_sampled_others_stand_for_all_others() -> None:
    full, eligible = tasks(200), torch.ones(200, 40, dtype=torch.bool)
    generator = torch.Generator().manual_seed(0)
    listed = RankingTasks.listing(lines_of(full.scores), full.known, eligible, full.target, full.users, 13, generator)
    exact, estimate = (float(part.losses(part.scores[:, 2]).mean()) for part in (full, listed))
    assert estimate == pytest.approx(exact, abs=0.1)
    equal = full.losses(torch.zeros(200, 40)), listed.losses(torch.zeros(200, 13))
    torch.testing.assert_close(*equal)


def test_the_head_is_the_mean_of_its_members(monkeypatch: pytest.MonkeyPatch) -> None:
    members, fitted = [], heads._fit_member

    def remembered(*arguments: object, **named: object) -> tuple[RankingHead, float]:
        members.append(fitted(*arguments, **named))  # type: ignore[arg-type]
        return members[-1]

    monkeypatch.setattr(heads, "_fit_member", remembered)
    head = RankingHead(3, RankingConfig(epochs=3, hidden=10, folds=3))
    loss = fit_head(head, tasks(60), seed=0)
    scores, known = torch.randn(2, 3, 8), torch.tensor([1.0, 5.0])
    assert len(members) == 3
    mean = torch.stack([member(scores, known) for member, _ in members]).mean(dim=0)
    torch.testing.assert_close(head(scores, known), mean)
    assert loss == pytest.approx(sum(value for _, value in members) / 3)


def test_nothing_known_is_a_case_of_its_own() -> None:
    found = history_features(torch.tensor([0.0, 1.0, 20.0]))
    torch.testing.assert_close(found, torch.tensor([[0.0, 1.0], [0.2310, 0.0], [1.0148, 0.0]]), atol=1e-4, rtol=0)


def test_a_users_tasks_are_held_out_together() -> None:
    full = tasks(60)
    full = RankingTasks(full.scores, full.known, full.target, full.rest, full.rows, torch.arange(60) % 12)
    held_out = []
    for train, held in full.folds(4, seed=0):
        assert not set(full.users[train].tolist()) & set(full.users[held].tolist())
        assert sorted([*train.tolist(), *held.tolist()]) == list(range(60))
        held_out += held.tolist()
    assert sorted(held_out) == list(range(60)), "everybody is held out once"


def test_each_head_is_kept_as_it_was_best_for_those_held_out() -> None:
    """Whom it is fitted on like what the held out do not: every epoch makes it worse for them in the end."""
    full = tasks(100)
    _, held = full.folds(1, seed=0)[0]
    contrary = full.target.clone()
    contrary[held] = (full.target[held] == 0).float() / 37
    full = RankingTasks(full.scores, full.known, contrary, full.rest, full.rows, full.users)
    head = RankingHead(3, RankingConfig(epochs=6, folds=1))
    loss = fit_head(head, full, seed=0)
    asked = full.of(held)
    with torch.no_grad():
        assert float(asked.losses(head(asked.scores, asked.known)).mean()) == pytest.approx(loss)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_mixed_head_scores_as_both_in_their_shares(share: float) -> None:
    heads = []
    for seed, hidden in ((0, 5), (1, 9)):
        torch.manual_seed(seed)
        made = RankingHead(3, RankingConfig(hidden=hidden)).requires_grad_(False)
        for part in made.parameters():
            part.normal_()
        heads.append(made)
    scores, known = torch.randn(4, 3, 7), torch.tensor([0.0, 1.0, 5.0, 30.0])
    expected = (1 - share) * heads[0](scores, known) + share * heads[1](scores, known)
    mixed = RankingHead.mixed(*heads, share).requires_grad_(False)
    torch.testing.assert_close(mixed(scores, known), expected, rtol=1e-4, atol=1e-4)
