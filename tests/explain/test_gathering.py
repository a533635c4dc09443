"""Citations follow from contributions and from nothing else."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.data.feedback import Feedback
from recllm.data.histories import Histories, make_histories
from recllm.data.interactions import Interactions
from recllm.errors import ConfigError, DataError
from recllm.explain import Background, Evidence, Explainer, Ranking, gather_evidence
from tests.explain.world import CATALOG, N_ITEMS, POPULARITY, Additive, background, cited, gather, users


def test_cites_what_caused_it_strongest_first() -> None:
    score = Additive({(0, 10): 1.0, (1, 10): 1.5, (2, 10): -2.0, (3, 10): 0.1, (2, 11): 1.0})
    first, second = gather(score, users([0, 1, 2, 3]), [10, 11], channels=["text", None])
    assert (first.user_id, first.item_id, first.reason_code, first.channel) == ("u0", "i10", "history", "text")
    assert cited(first) == ["i1", "i0"]
    assert [cause.title for cause in first.causes] == ["Title 1", "Title 0"]
    assert [cause.contribution for cause in first.causes] == pytest.approx([1.5, 1.0], abs=1e-6)
    assert [cause.share for cause in first.causes] == pytest.approx([1.5 / 2.6, 1 / 2.6], abs=1e-6)
    assert first.share == pytest.approx(2.5 / 2.6)
    assert (first.title, first.n_events) == ("Title 10", 4)
    assert first.confidence > 0.5
    assert cited(second) == ["i2"]
    assert second.channel is None


def test_at_most_three_and_no_more_than_is_enough() -> None:
    # A fifth keeps it in the list without any of the four.
    four = Additive({(j, 10): 1.0 + j / 10 for j in range(4)} | {(4, 10): 0.2}, prior={11: 1.9})
    assert cited(gather(four, users([0, 1, 2, 3, 4]), [10], n=1)[0]) == ["i3", "i2", "i1"]
    # One of three carries 80 %: it is enough.
    one = Additive({(0, 10): 8.0, (1, 10): 1.0, (2, 10): 1.0}, prior={11: 5.0})
    assert cited(gather(one, users([0, 1, 2]), [10], n=1)[0]) == ["i0"]
    # But all are cited without which, only together, the item leaves the list.
    one.prior[11] = 1.5
    assert cited(gather(one, users([0, 1, 2]), [10], n=1)[0]) == ["i0", "i2"]
    # Much less than an even share is not cited.
    some = Additive({(0, 10): 5.0, (1, 10): 5.0, (2, 10): 0.5, (3, 10): 4.5}, prior={11: 3.0})
    assert cited(gather(some, users([0, 1, 2, 3]), [10], n=1)[0]) == ["i1", "i0", "i3"]


@pytest.mark.parametrize("signal", [0, -1])
def test_what_was_not_liked_is_not_cited(signal: int) -> None:
    score = Additive({(0, 10): 1.0, (1, 10): 1.0})
    (evidence,) = gather(score, users([0, 1], signals=[signal, 1]), [10])
    assert cited(evidence) == ["i1"]
    assert evidence.causes[0].share == pytest.approx(0.5)
    # What lifts it may not be named, and is no guess for that.
    (evidence,) = gather(score, users([0, 1], signals=[signal, signal]), [10])
    assert (evidence.reason_code, evidence.causes, evidence.whole) == ("history", (), True)


def test_the_latest_opinion_of_an_item_counts() -> None:
    score = Additive({(0, 10): 3.0})
    assert cited(gather(score, users([0, 1, 0], signals=[-1, 1, 1]), [10])[0]) == ["i0"]
    assert cited(gather(score, users([0, 1, 0], signals=[1, 1, -1]), [10])[0]) == []


def test_an_item_is_not_its_own_cause() -> None:
    score = Additive({(10, 10): 9.0, (1, 10): 1.0})
    (evidence,) = gather(score, users([10, 1]), [10])
    assert cited(evidence) == ["i1"]
    assert evidence.causes[0].share == 1.0


def test_what_lifts_everything_explains_nothing() -> None:
    lifts_all = {(0, item): 2.0 for item in range(N_ITEMS)}
    (evidence,) = gather(Additive({**lifts_all, (1, 10): 2.0}), users([0, 1]), [10])
    assert cited(evidence) == ["i1"]
    (evidence,) = gather(Additive(lifts_all, prior={10: 1.0}), users([0, 1]), [10])
    assert evidence.causes == ()


@pytest.mark.parametrize(("item", "reason"), [(19, "popular"), (10, "weak")])
def test_a_place_that_needs_no_history_is_not_explained_by_it(item: int, reason: str) -> None:
    score = Additive({(0, item): 1.0}, prior={item: 5.0, 3: 9.0})
    (evidence,) = gather(score, users([0, 1]), [item])
    assert (evidence.place, evidence.place_without_history) == (2, 2)
    assert (evidence.reason_code, evidence.causes, evidence.counterfactual) == (reason, (), None)


@pytest.mark.parametrize("item", [19, 10])
def test_what_little_lifts_is_its_cause_without_much_confidence(item: int) -> None:
    score = Additive({(0, item): 0.01}, prior={3: 1.0, 4: 2.0})
    (evidence,) = gather(score, users([0, 1]), [item])
    assert (evidence.reason_code, cited(evidence)) == ("history", ["i0"])
    assert 0 < evidence.confidence < 0.1


def test_what_is_popular_and_first_for_everybody_is_popular() -> None:
    """However much further ahead the history puts it."""
    (evidence,) = gather(Additive({(0, 19): 3.0}, prior={19: 1.0}), users([0]), [19])
    assert (evidence.reason_code, evidence.causes) == ("popular", ())


def test_the_first_place_is_explained_by_its_contributions() -> None:
    (evidence,) = gather(Additive({(0, 10): 3.0}, prior={10: 1.0}), users([0]), [10])
    assert (evidence.place, evidence.place_without_history, evidence.reason_code) == (1, 1, "history")


def test_a_lifted_item_is_not_called_popular() -> None:
    """A disliked item lifts a popular one: "not based on your history" would be a lie."""
    (evidence,) = gather(Additive({(0, 19): 3.0}, prior={3: 1.0}), users([0], signals=[-1]), [19])
    assert (evidence.reason_code, evidence.popular) == ("history", True)
    assert (evidence.causes, evidence.whole) == ((), True)


@pytest.mark.parametrize(("item", "popular"), [(19, True), (18, True), (17, False), (0, False)])
def test_without_events_it_is_a_cold_start_and_nothing_is_scored(item: int, popular: bool) -> None:
    score = Additive({})
    (evidence,) = gather(score, users([1], []), [item], user=1)
    assert (evidence.user_id, evidence.reason_code, evidence.popular) == ("u1", "cold_start", popular)
    assert (evidence.n_events, evidence.confidence, evidence.place) == (0, 0.0, None)
    assert evidence.popularity_rank == item / N_ITEMS
    assert score.calls == []


def test_popular_in_a_small_catalog_and_among_equals() -> None:
    def popular(counts: list[float], item: int) -> bool:
        names = [str(row) for row in range(len(counts))]
        catalog = Catalog.from_frame(pl.DataFrame({"item_id": names, "title": names}))
        (evidence,) = gather(Additive({}), users([]), [item], about=Background(catalog, np.array(counts)))
        return evidence.popular

    assert [popular([1, 2, 3], item) for item in range(3)] == [False, False, True]
    assert not popular([4, 4, 4, 4], 0)
    assert not popular([0], 0)
    assert popular([2], 0)


def test_events_name_the_causes() -> None:
    about = Background(CATALOG, POPULARITY, Feedback(event_names=("purchase", "view")))
    score = Additive({(j, 10): 1.0 for j in range(4)})
    (evidence,) = gather(score, users([0, 1, 2], tokens=[6, 7, 8]), [10], about=about)
    assert [cause.event for cause in evidence.causes] == [None, "view", "purchase"]
    (evidence,) = gather(score, users([0, 1], tokens=[5, 0]), [10], about=about)
    assert [cause.event for cause in evidence.causes] == [None, "rating"]


def test_a_constant_score_has_no_reason() -> None:
    (evidence,) = gather(Additive({}), users([0, 1]), [10])
    assert (evidence.reason_code, evidence.confidence) == ("weak", 0.0)


def test_a_user_who_has_everything() -> None:
    everything = list(range(N_ITEMS))
    (evidence,) = gather(Additive({(0, 10): 1.0}, seen=everything), users(everything), [10])
    assert evidence.counterfactual is None
    assert cited(evidence) == ["i0"]


@pytest.mark.parametrize("row", [-1, N_ITEMS])
def test_unknown_items_are_refused(row: int) -> None:
    with pytest.raises(DataError, match="outside of the catalog's 20 rows"):
        gather(Additive({}), users([0]), [row])


def test_nothing_asked_nothing_said() -> None:
    assert gather(Additive({}), users([0]), []) == []


# -- more than causes -------------------------------------------------------------------------------------------------


def test_a_counterfactual_names_what_comes_instead() -> None:
    score = Additive({(0, 10): 3.0, (1, 10): 1.0}, prior={11: 2.0}, seen=[0, 1])
    (evidence,) = gather(score, users([0, 1]), [10], n=1)
    assert evidence.counterfactual is not None
    assert (evidence.counterfactual.item_ids, evidence.counterfactual.titles) == (("i0",), ("Title 0",))
    assert (evidence.counterfactual.instead_id, evidence.counterfactual.instead_title) == ("i11", "Title 11")
    assert evidence.n == 1


def test_what_the_list_hangs_on_is_cited_although_it_is_little() -> None:
    """What is disliked carries half, and none of eight others a share to speak of; but with it, one turns the list."""
    weights = {(j, 10): 0.5 for j in range(1, 9)}
    score = Additive({**weights, (0, 10): 4.0}, prior={11: 3.8}, seen=range(9))
    (evidence,) = gather(score, users(list(range(9)), signals=[-1] + [1] * 8), [10], n=1)
    assert evidence.counterfactual is not None
    assert set(cited(evidence)) <= set(evidence.counterfactual.item_ids)
    assert (evidence.reason_code, "i0" in cited(evidence)) == ("history", False)


def test_the_strongest_reason_against() -> None:
    score = Additive({(0, 10): 3.0, (1, 10): -1.0, (2, 10): -2.0})
    (evidence,) = gather(score, users([0, 1, 2]), [10])
    assert evidence.against is not None
    assert (evidence.against.item_id, evidence.against.contribution) == ("i2", pytest.approx(-2.0))
    assert evidence.against.share == pytest.approx(2 / 3)
    (evidence,) = gather(Additive({(0, 10): 3.0, (1, 10): -0.1}), users([0, 1]), [10])
    assert evidence.against is None


def test_editions_are_one_cause() -> None:
    titles = [f"Title {row}" for row in range(N_ITEMS)]
    titles[0], titles[1] = "A Garden Book (Hardcover)", "A garden book"
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": [f"i{row}" for row in range(N_ITEMS)], "title": titles}))
    # Each alone changes nothing: the score counts either.
    score = Additive({(0, 10): 1.0, (1, 10): 1.0, (2, 10): 0.5}, prior={11: 1.0})
    (evidence,) = gather(score, users([0, 2, 1]), [10], about=background(catalog), n=1)
    assert [(cause.item_id, cause.editions, cause.contribution) for cause in evidence.causes] == [
        ("i1", ("i0",), pytest.approx(2.0))
    ]
    # Another edition of the item may be its cause, the item itself may not.
    another = Additive({(0, 1): 3.0, (2, 1): 1.0}, prior={11: 2.0})
    assert cited(gather(another, users([0, 2]), [1], about=background(catalog), n=1)[0]) == ["i0"]
    assert cited(gather(another, users([0, 1, 2]), [1], about=background(catalog))[0]) == ["i2"]


def test_what_may_not_be_named_is_named_nowhere() -> None:
    score = Additive({(0, 10): 3.0, (1, 10): 1.0, (2, 10): -2.0, (3, 10): 0.9}, prior={11: 2.0}, seen=[0, 1, 2, 3])
    secret = background(never_cite=("i0", "i2", "i11"))
    (evidence,) = gather(score, users([0, 1, 2, 3]), [10], about=secret, n=1)
    said = json.dumps(evidence.to_dict())
    assert [name for name in ("i0", "i2", "i11", "Title 0", "Title 2", "Title 11") if f'"{name}"' in said] == []
    assert cited(evidence) == ["i1"]
    assert evidence.confidence > 0.5


def test_sensitive_categories_are_not_named() -> None:
    categories = ["Mental Health" if row in (0, 10) else "Books" if row in (1, 10) else "" for row in range(N_ITEMS)]
    categories[10] = "Mental Health|Books"
    frame = CATALOG.frame.select("item_id", "title").with_columns(categories=pl.Series(categories))
    about = background(Catalog.from_frame(frame))
    (evidence,) = gather(Additive({(0, 10): 1.0, (1, 10): 1.0}), users([0, 1]), [10], about=about)
    assert cited(evidence) == ["i1"]
    assert [(shared.kind, shared.value) for shared in evidence.attributes] == [("categories", "Books")]


def test_a_granted_wish_is_the_reason() -> None:
    score = Additive({(0, 10): 1.0})
    first, second = gather(score, users([0]), [10, 10], wishes=[("Garden",), ()])
    assert (first.reason_code, first.wishes, first.causes, first.counterfactual) == ("asked", ("Garden",), (), None)
    assert (second.reason_code, second.wishes) == ("history", ())


def test_evidence_is_json_and_back() -> None:
    score = Additive({(0, 10): 3.0, (1, 10): -2.0}, prior={11: 2.0}, seen=[0, 1])
    (evidence,) = gather(score, users([0, 1]), np.array([10]), n=1)
    data = evidence.to_dict()
    assert Evidence.from_dict(json.loads(json.dumps(data, allow_nan=False))) == evidence
    assert set(data) == set(replace(evidence).__dataclass_fields__)
    with pytest.raises(ConfigError, match="unknown key 'praise'"):
        Evidence.from_dict({**data, "praise": "the best"})


def test_any_ranker_can_be_explained() -> None:
    """As the package's docstring says: item-item counts, which no part of recllm has made."""
    rows = [("a", "i0"), ("a", "i1"), ("b", "i0"), ("b", "i1"), ("c", "i2"), ("c", "i3"), ("new", "i0"), ("new", "i2")]
    frame = pl.DataFrame([(*row, at) for at, row in enumerate(rows)], ["user_id", "item_id", "timestamp"], orient="row")
    events = Interactions.from_frame(frame)
    taken = np.zeros((3, N_ITEMS), dtype=np.float32)
    for user, item in rows[:6]:
        taken["abc".index(user), int(item[1:])] = 1
    together = taken.T @ taken

    def rank(histories: Histories) -> Ranking:
        scores = np.stack([together[histories.items_of(user)].sum(axis=0) for user in range(len(histories))])
        return Ranking.of_scores(scores, listed=~np.isin(np.arange(N_ITEMS), [0, 2]))

    histories = make_histories(events.of_users(["new"]), CATALOG, Feedback.infer(events.frame))
    evidence = gather_evidence(rank, histories, 0, [1, 3], Background(CATALOG, taken.sum(axis=0)))
    texts = [wording.text for wording in Explainer(domain="ecommerce", detail="full").explain(evidence)]
    assert texts[0].startswith("Because of “Title 0” in your history.")
    assert texts[1].startswith("Because of “Title 2” in your history.")


@pytest.mark.parametrize("domain", ["shop", "courses", "questions", "funds"])
def test_planted_causes_are_cited(domain: str) -> None:
    """In each of 200 worlds one history item causes the recommendation, among noise of all others."""
    rng = np.random.default_rng(sum(map(ord, domain)))
    size = {"shop": 12, "courses": 5, "questions": 3, "funds": 20}[domain]
    hits = 0
    for _ in range(200):
        history = rng.choice(40, size=size, replace=False).tolist()
        planted = history[int(rng.integers(size))]
        noise = {(j, i): float(rng.normal(0, 0.2)) for j in range(40) for i in range(40, 60)}
        rank = Additive({**noise, (planted, 45): 2.0}, seen=range(40), items=60)
        names = [f"i{row}" for row in range(60)]
        catalog = Catalog.from_frame(pl.DataFrame({"item_id": names, "title": [f"{domain} {n}" for n in names]}))
        (evidence,) = gather_evidence(rank, users(history), 0, [45], Background(catalog, np.ones(60)))
        hits += cited(evidence)[:1] == [f"i{planted}"]
    assert hits >= 190


def test_three_that_lead_to_a_fourth() -> None:
    """Without a history the fourth is behind everything else, however few of it a channel would bring."""
    prior = {row: 1.0 + row / 100 for row in range(N_ITEMS) if row != 10}
    score = Additive({(row, 10): 2.0 for row in range(3)}, prior=prior, seen=[0, 1, 2])
    (evidence,) = gather(score, users([0, 1, 2]), [10])
    assert (evidence.place, evidence.place_without_history) == (1, N_ITEMS - 3)
    assert (evidence.reason_code, sorted(cited(evidence))) == ("history", ["i0", "i1", "i2"])


def test_what_the_user_has_is_owned_wherever_it_would_be_listed() -> None:
    score = Additive({(0, 1): 2.0, (1, 1): 9.0}, prior={3: 5.0}, seen=[0, 1])
    first, second = gather(score, users([0, 1]), [1, 0])
    assert (first.reason_code, cited(first), first.place, first.place_without_history) == ("owned", ["i0"], None, None)
    assert (second.reason_code, cited(second)) == ("owned", [])
    (left_out,) = gather(score, users([]), [1], owned=[True])
    assert left_out.reason_code == "owned"
