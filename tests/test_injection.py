"""Catalog text is data: whatever titles and descriptions say, lists stay as they are and reasons say nothing of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.explain import complaints
from recllm.explain.evidence import Evidence
from recllm.options import TrainOptions
from recllm.prompting.generator import Generator
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.explain.payloads import PAYLOADS
from tests.small import config_for, newcomer

ACTIVE = re.compile(
    r"<|>|https?:|www\.|javascript:\S|data:\S|\]\(|[\x00-\x1f\x7f\u202a-\u202e\u2066-\u2069]", re.IGNORECASE
)


class Obedient(Generator):
    """A model that does what the text in front of it says, as far as it can: it repeats it."""

    name, writes = "obedient", True

    def generate(
        self, system: str, user: str, *, max_tokens: int = 160, schema: Mapping[str, Any] | None = None
    ) -> str:
        return user[-300:]

    def choose(self, system: str, user: str, options: Sequence[str]) -> int | None:
        return len(options) + 7


@pytest.fixture(scope="module")
def fitted(tiny: Path, toy: ToyShop) -> Recommender:
    return Recommender(config_for(tiny)).fit(toy.catalog, toy.events, options=TrainOptions(seed=0))


def hostile(rec: Recommender, part: int) -> Recommender:
    """The same model over a catalog that says other things: every item a payload as title and another as text."""
    size = len(rec.catalog)
    # No file can hold half a character, so no catalog does.
    chosen = [
        PAYLOADS[(part * size + row) % len(PAYLOADS)].encode("utf-8", "replace").decode() for row in range(2 * size)
    ]
    frame = rec.catalog.frame.with_columns(
        title=pl.Series(chosen[:size]),
        text=pl.Series(chosen[size:]),
        brand=pl.Series([one[:50] for one in chosen[size:]]),
    )
    return rec.with_model(replace(rec.model, catalog=Catalog(frame, rec.catalog.report)), rec.config)


def test_there_are_enough_payloads() -> None:
    assert len(set(PAYLOADS)) >= 300


@pytest.mark.parametrize("part", range(1 + len(PAYLOADS) // 48))
def test_lists_stay_and_reasons_are_inert(fitted: Recommender, toy: ToyShop, part: int) -> None:
    users = {"x": newcomer(toy, 1), "y": newcomer(toy, 3) + newcomer(toy, 0)}
    attacked = hostile(fitted, part)
    expected = [(row.user_id, row.item_id, row.score) for row in fitted.recommend(users, n=5)]
    explained = attacked.recommend(users, n=5, explain=True)
    assert [(row.user_id, row.item_id, row.score) for row in explained] == expected
    asked = {user: [row.item_id for row in explained.for_user(user)] for user in users}
    results = [explained, *(attacked.explain(users, asked, Obedient(), level=level) for level in ("L1", "L3"))]
    results.append(attacked.explain(users, asked, level="L2"))
    for result in results:
        for row in result:
            assert not ACTIVE.search(row.explanation), row.explanation
            assert len(row.explanation) < 1200
        assert not re.search(r"<(?!/?(table|tr|th|td|p)\b)", result._repr_html_())
    for row in results[2]:
        assert row.method == "L0", "the obedient model wrote what was not in the evidence"
        assert row.fallback
    for row in results[3]:
        evidence = Evidence.from_dict({name: value for name, value in row.evidence.items() if name != "wording"})
        assert complaints(row.explanation, evidence) == ()
