"""A catalog that is too large to be ranked whole: lists, scores and reasons by what an index brings."""

import numpy as np
import pytest

from recllm.explain import served
from recllm.lists.results import Recommendations
from recllm.recommender import Recommender
from recllm.retrieval import candidates, index
from recllm.retrieval import space as spaces
from recllm.retrieval.index import Graph, Scan
from recllm.retrieval.space import Space
from recllm.testing import DEPARTMENTS, ToyShop, tiny_backbone, toy_shop
from tests.small import config_for, newcomer

USER = "visitor"


@pytest.fixture(scope="module")
def toy() -> ToyShop:
    """Eight hundred items in four departments."""
    return toy_shop(users=120, items_per_department=200, purchases=8)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, toy: ToyShop) -> Recommender:
    """Its texts are all different to the backbone."""
    words = ["thing number", *DEPARTMENTS, *map(str, range(800))]
    backbone = tiny_backbone(tmp_path_factory.mktemp("tiny"), words)
    return Recommender.from_catalog(toy.catalog, config=config_for(backbone)).update(toy.events)


@pytest.fixture(params=["scan", "graph"])
def large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, shop: Recommender) -> Recommender:
    """The same shop, as if a thousand items were a million."""
    for module in (candidates, served):
        monkeypatch.setattr(module, "RANKED_WHOLE", 0)
    monkeypatch.setattr(spaces, "EXACT_ITEMS", 0)
    if request.param == "graph":
        monkeypatch.setattr(index, "SCANNED_ITEMS", 0)
    other = Recommender.of(shop.fitted)
    for holder in (other.model.channels, other.model):
        for name in {"space", "sense_space"} & set(vars(holder)):
            vars(holder)[name] = Space(vars(holder)[name].vectors)
    other.model.make_ready(lambda *_: None)
    assert isinstance(other.model.space.index, Graph if request.param == "graph" else Scan)
    return other


def ids(lists: Recommendations) -> list[str]:
    return [row.item_id for row in lists.for_user(USER)]


def visitor(toy: ToyShop, department: int) -> dict[str, list[str]]:
    return {USER: newcomer(toy, department)}


def test_lists_are_nearly_those_of_scoring_everything(large: Recommender, toy: ToyShop) -> None:
    everything, same = list(toy.catalog.item_ids), []
    for department in range(4):
        some = visitor(toy, department)
        found = large.recommend(some, n=10)
        scores = dict(zip(everything, large.score(some, everything)[0], strict=True))
        assert [row.score for row in found] == pytest.approx([scores[item] for item in ids(found)], abs=1e-4)
        unseen = [item for item in everything if item not in some[USER]]
        best = sorted(unseen, key=lambda item: -scores[item])[:10]
        same.append(len(set(best) & set(ids(found))) / 10)
    assert np.mean(same) > 0.95


def test_filters_and_rules_reach_what_no_channel_would_bring(large: Recommender, toy: ToyShop) -> None:
    """Of another department than the visitor's, three items may be listed: they are found among eight hundred."""
    others = [item for item, where in zip(toy.catalog.item_ids, toy.department, strict=True) if where == 2][-3:]
    some = visitor(toy, 0)
    assert set(ids(large.recommend(some, n=10, candidates=others))) == set(others)
    last = str(toy.catalog.titles[toy.catalog.rows(others[:1])[0]])
    assert ids(large.recommend(some, n=10, filters={"title": last})) == others[:1]
    assert ids(large.recommend(some, n=3, pinned=others[::-1])) == others[::-1]
    assert others[0] in ids(large.recommend(some, n=5, wishes=[f"more of {last} (9)"]))


def test_reasons_of_candidates_are_true(large: Recommender, toy: ToyShop) -> None:
    lists = large.recommend(visitor(toy, 1), n=5, explain=True)
    assert {row.reason_code for row in lists} == {"history"}
    for row in lists:
        assert large.verify_explanation(row).passed, large.verify_explanation(row)
        cited = [cause["item_id"] for cause in row.evidence["causes"]]
        assert set(toy.department[toy.catalog.rows(cited)]) <= {1}, "what they have of this department"
    asked = large.explain(visitor(toy, 1), [toy.catalog.item_ids[int(np.flatnonzero(toy.department == 3)[5])]])
    assert large.verify_explanation(next(iter(asked))).passed, "an item that nothing brings has reasons, too"
