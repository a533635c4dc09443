"""`recllm demo` against a recommender that learns nothing: whom it chooses, what it tells of them, what it shows."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

import recllm
from recllm.artifact import save_artifact
from recllm.cli import demo
from recllm.cli.show import _movement
from recllm.lists.results import Recommendations
from tests.cli.command_line import run

REASON = "You bought “lantern”; the model gives it 62 % of this recommendation. " * 2


class FakeRecommender:
    """Recommends the catalog in its order, backwards after adapting."""

    calls: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, config: recllm.RecommenderConfig) -> None:
        self.report = SimpleNamespace(chosen={"adapters": "used"})

    def fit(self, catalog: Any, events: Any, *, options: recllm.TrainOptions) -> "FakeRecommender":
        self.calls.append({"fit": options, "users": events.user_ids})
        self.catalog = catalog
        return self

    def save(self, folder: Path) -> None:
        save_artifact(folder, tensors={}, documents={}, card="# recllm model\n", kind="recommender")

    def recommend(self, users: Any, n: int, *, adapt: bool = True, explain: bool = False) -> Any:
        self.calls.append({"recommend": users, "adapt": adapt, "explain": explain})
        rows = list(zip(self.catalog.item_ids, self.catalog.titles, strict=True))[: 2 * n]
        rows = (rows[::-1] if adapt else rows)[:n]
        lines = [(user, *row, rank) for user in users.user_ids for rank, row in enumerate(rows, 1)]
        user_id, item_id, title, rank = map(list, zip(*lines, strict=True))
        reasons: dict[str, Any] = {}
        if explain:
            size = len(lines)
            reasons = {"explanation": [REASON] * size, "reason_code": ["history"] * size, "evidence": [{}] * size}
        return Recommendations(user_id, item_id, rank, [1 / place for place in rank], title=title, **reasons)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeRecommender]:
    monkeypatch.setitem(vars(recllm), "Recommender", FakeRecommender)
    monkeypatch.setattr(FakeRecommender, "calls", [])
    return FakeRecommender


def test_demo_shows_three_unseen_customers(fake, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("demo")
    assert result.exit_code == 0, result.output
    trained, before, *_, after = fake.calls
    assert trained["fit"].budget == "3m"
    assert len(set(before["recommend"].user_ids) - set(trained["users"])) == 3
    assert not before["adapt"]
    assert after["adapt"]
    assert after["explain"]
    assert result.stdout.count("\ncustomer ") == 3
    assert result.stdout.count("First 6 of ") == 3
    assert result.stdout.count("You bought “lantern”") == 60
    marks = [line.count("✓") for line in result.stdout.splitlines() if line[:3].strip().isdigit()]
    summary = re.search(r"✓ before adapting: (\d+) of 30; after: (\d+) of 30", result.stdout)
    assert summary is not None
    assert sum(map(int, summary.groups())) == sum(marks)
    assert "was not kept" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert list(tmp_path.iterdir()) == []


def test_demo_json_and_out(fake, tmp_path) -> None:
    result = run("demo", "--json", "--out", str(tmp_path / "model"), "--budget", "90s")
    facts = json.loads(result.stdout)
    assert (tmp_path / "model" / "manifest.json").exists()
    assert facts["saved_to"] == str(tmp_path / "model")
    assert len(facts["customers"]) == 3
    for customer in facts["customers"]:
        assert 8 <= customer["n_events"] <= 40
        assert len(customer["given"]) == 6
        assert len(customer["before"]) == len(customer["after"]) == 10
        ranks = {line["item_id"]: line["rank"] for line in customer["before"]}
        for line in customer["after"]:
            assert line["rank_before"] == ranks.get(line["item_id"], line["rank_before"])
            assert line["explanation"] == REASON


def test_demo_customers_are_chosen_by_hash_and_told_little() -> None:
    catalog, events = recllm.load_demo()
    chosen = demo.hold_out(catalog, events)
    assert chosen == demo.hold_out(catalog, events)
    support = demo._support(events, chosen)
    assert support.user_ids == tuple(sorted(support.user_ids, key=[one.user_id for one in chosen].index))
    for one in chosen:
        told = support.frame.filter(support.frame["user_id"] == one.user_id)
        assert set(told["item_id"]) == set(one.given)
        assert not set(told["item_id"]) & one.later
        assert len(one.later) >= 3


@pytest.mark.parametrize(("before", "text"), [(4, "↑1"), (3, "="), (1, "↓2"), (None, "new")])
def test_movement(before, text) -> None:
    line = demo.Suggestion(rank=3, item_id="1", title="x", score=1.0, bought_later=False, rank_before=before)
    assert _movement(line) == text
