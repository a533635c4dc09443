"""Where causes stand in for each other: none of them alone changes anything, and the reason is still plain."""

from collections.abc import Iterator

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from recllm.data.catalog import Catalog
from recllm.data.histories import Histories
from recllm.explain import Background, Evidence, Explainer, Ranking, complaints, gather_evidence
from recllm.explain.contributions import without
from tests.explain.world import cited, users

SIZE = 30
TASTES = np.repeat([0, 1], SIZE)
N_ITEMS = len(TASTES)
N_USERS = 200
N = 10
IDS = [f"i{row}" for row in range(N_ITEMS)]
CATALOG = Catalog.from_frame(
    pl.DataFrame(
        {
            "item_id": IDS,
            "title": [f"{('Mug', 'Lamp')[taste]} number {row}" for row, taste in enumerate(TASTES)],
            # What most of a catalog has is no category to speak of.
            "categories": [("Mugs", "Lamps")[taste] if row % SIZE < 23 else "" for row, taste in enumerate(TASTES)],
        }
    )
)


class Either:
    """A taste's items are put first if any of what `opens` it is known, no matter how much of it.

    Args:
        opens: bool [items, tastes].
        prior: [items], smaller than what an open taste adds.
        seen: What is not listed.
    """

    def __init__(self, opens: NDArray[np.bool_], prior: NDArray[np.float64], seen: list[int]) -> None:
        self.opens, self.prior, self.listed = opens, prior, ~np.isin(np.arange(N_ITEMS), seen)

    def __call__(self, histories: Histories) -> Ranking:
        known = [np.unique(histories.items_of(user)) for user in range(len(histories))]
        opened = np.array([self.opens[rows].any(axis=0) for rows in known])
        return Ranking.of_scores(self.prior + 5.0 * opened[:, TASTES], self.listed)


def explained(
    n_known: int, *, others: int = 0, opens: NDArray[np.bool_] | None = None, catalog: Catalog = CATALOG
) -> Iterator[tuple[Either, Histories, list[int], Evidence]]:
    """200 users who know some items of a taste, and some that open nothing: why is the fifth of the list recommended?

    Yields what is served, the history, what of it opens the taste, and the evidence.
    """
    rng = np.random.default_rng(n_known + 100 * others)
    for user in range(N_USERS):
        of_taste = np.flatnonzero(user % 2 == TASTES)
        mine = rng.choice(of_taste[: SIZE // 2], n_known, replace=False)
        idle = rng.choice(np.flatnonzero(user % 2 != TASTES)[: SIZE // 2], others, replace=False)
        only = np.zeros((N_ITEMS, 2), dtype=bool)
        only[mine, user % 2] = True
        history = rng.permutation([*mine, *idle]).astype(int).tolist()
        rank = Either(only if opens is None else opens, rng.uniform(0, 1, N_ITEMS), history)
        item = int(rank(users(history)).top(0, 5)[-1])
        (evidence,) = gather_evidence(rank, users(history), 0, [item], Background(catalog, np.ones(N_ITEMS)), n=N)
        if moved(evidence):
            yield rank, users(history), mine.tolist(), evidence


def moved(evidence: Evidence) -> bool:
    """Whether the history lifts the item: the best of all taste stays the best, whatever is known."""
    return (evidence.place or 0) < (evidence.place_without_history or 0)


def is_right(rank: Either, history: Histories, causes: list[int], evidence: Evidence) -> bool:
    """Whether true causes are cited, nothing else is, and without what is cited the item falls."""
    rows, item = [IDS.index(one) for one in cited(evidence)], IDS.index(evidence.item_id)
    less = rank(without(history, 0, [(), rows]))
    return bool(rows) and {*rows} <= {*causes} and less.middle(1, item) > less.middle(0, item)


@pytest.mark.parametrize("others", [0, 4])
@pytest.mark.parametrize("n_known", [1, 2, 3, 5])
def test_disjoint_tastes(n_known: int, others: int) -> None:
    found = list(explained(n_known, others=others))
    assert len(found) > 0.8 * N_USERS
    assert sum(evidence.reason_code == "weak" for *_, evidence in found) <= 0.05 * len(found)
    assert sum(is_right(*one) for one in found) >= 0.95 * len(found)
    # As long as one of them is known, nothing changes: all are the cause.
    assert {len(evidence.causes) for *_, evidence in found} == {n_known}


def test_near_copies() -> None:
    """Three colours of one thing, which no rule of editions takes for the same."""
    titles = [f"Enamel mug, {colour}" for colour in ("red", "blue", "green")]
    names = [titles[row % SIZE] if row % SIZE < 3 else f"Thing {row}" for row in range(N_ITEMS)]
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": IDS, "title": names}))
    opens = np.zeros((N_ITEMS, 2), dtype=bool)
    right: list[bool] = []
    for user in range(N_USERS):
        rng = np.random.default_rng(user)
        copies = [SIZE * (user % 2) + place for place in range(3)]
        opens[:] = False
        opens[copies, user % 2] = True
        history = rng.permutation([*copies, *range(5, 10)]).tolist()
        rank = Either(opens, rng.uniform(0, 1, N_ITEMS), history)
        item = int(rank(users(history)).top(0, 5)[-1])
        (evidence,) = gather_evidence(rank, users(history), 0, [item], Background(catalog, np.ones(N_ITEMS)), n=N)
        right += [is_right(rank, users(history), copies, evidence)] * moved(evidence)
    assert len(right) > 0.8 * N_USERS
    assert np.mean(right) >= 0.95


def test_either_of_two_groups() -> None:
    """Two mugs or two lamps: without the mugs the lamps do it, and without the lamps the mugs do."""
    right: list[bool] = []
    for user in range(N_USERS):
        rng = np.random.default_rng(user)
        both = [0, 1, SIZE, SIZE + 1]
        opens = np.zeros((N_ITEMS, 2), dtype=bool)
        opens[both, 0] = True
        history = rng.permutation([*both, *range(5, 8)]).tolist()
        rank = Either(opens, rng.uniform(0, 1, N_ITEMS), history)
        item = int(rank(users(history)).top(0, 5)[-1])
        (evidence,) = gather_evidence(rank, users(history), 0, [item], Background(CATALOG, np.ones(N_ITEMS)), n=N)
        fits = is_right(rank, users(history), both, evidence) and len(evidence.causes) == 4
        right += [fits] * moved(evidence)
    assert len(right) > 0.8 * N_USERS
    assert np.mean(right) >= 0.95


def test_a_group_is_named_by_what_it_has_in_common_and_by_its_number() -> None:
    evidence = next(found for *_, found in explained(5, others=4) if found.attributes)
    value, other = ("Mugs", "Lamps")[:: 1 if evidence.attributes[0].value == "Mugs" else -1]
    (wording,) = Explainer(domain="ecommerce").explain([evidence])
    first, second = (cause.title for cause in evidence.causes[:2])
    assert wording.text == f"Because of “{first}”, “{second}” and three more in “{value}” in your history."
    assert wording.verified
    for wrong in (wording.text.replace("three", "two"), wording.text.replace(value, other)):
        assert complaints(wrong, evidence, domain="ecommerce") != ()


def test_a_history_that_counts_only_as_a_whole() -> None:
    """Thirty events of which each adds a thirtieth: no small part of them moves the item."""
    history = list(range(SIZE))
    prior = np.linspace(0, 0.1, N_ITEMS)

    def rank(histories: Histories) -> Ranking:
        scores = np.tile(prior, (len(histories), 1))
        scores[:, N_ITEMS - 20] += [5.0 * (histories.lengths[user] > 0) for user in range(len(histories))]
        return Ranking.of_scores(scores, ~np.isin(np.arange(N_ITEMS), history))

    (evidence,) = gather_evidence(rank, users(history), 0, [N_ITEMS - 20], Background(CATALOG, np.ones(N_ITEMS)), n=N)
    assert (evidence.reason_code, evidence.whole) == ("history", True)
    (wording,) = Explainer().explain([evidence])
    assert wording.text.startswith("Because of your history as a whole, most of all “")
    assert wording.verified
