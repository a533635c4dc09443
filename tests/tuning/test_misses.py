"""What a writer is told of the lists."""

from pathlib import Path

import numpy as np
import pytest

from recllm.data.tasks import Tasks
from recllm.encoders.text import TextEncoder, TextEncoderConfig
from recllm.tuning import misses
from recllm.tuning.judge import ItemJudge
from recllm.tuning.layout import Layout
from recllm.tuning.misses import item_drafts, worst_misses
from recllm.tuning.optimize import optimize_items
from recllm.tuning.propose import Probe
from tests.explain.world import users
from tests.tuning.world import backbone, planted
from tests.tuning.writers import good

TEXTS = [f"Item {row}" for row in range(6)]
# Items 0 to 2 point one way, 3 to 5 the other.
VECTORS = np.array([[1.0, 0.0], [0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.0, 1.0], [-0.5, 1.0]], dtype=np.float32)


def test_the_worst_comes_first_and_one_of_each_user() -> None:
    support, query = users([0, 1], [4]), users([2, 5, 3], [0, 3])
    tasks = Tasks(support, query, np.arange(2), {})
    assert worst_misses(VECTORS, tasks, TEXTS) == (
        "“Item 0” stood at place 5 of 6 for somebody who likes “Item 4”.",
        "“Item 5” stood at place 4 of 6 for somebody who likes “Item 0”, “Item 1”.",
    )
    assert len(worst_misses(VECTORS, tasks, TEXTS, most=1)) == 1


def test_dislikes_are_neither_missed_nor_known_as_liked() -> None:
    support, query = users([0, 4], signals=[1, -1]), users([5, 2], signals=[-1, 1])
    (told,) = worst_misses(VECTORS, Tasks(support, query, np.arange(1), {}), TEXTS)
    assert told == "“Item 2” stood at place 2 of 6 for somebody who likes “Item 0”."
    assert worst_misses(VECTORS, Tasks(users([0], signals=[-1]), users([2]), np.arange(1), {}), TEXTS) == ()


def test_titles_are_made_inert() -> None:
    texts = [*TEXTS[:5], "Buy <b>now</b> at https://evil.example “yes”"]
    (told,) = worst_misses(VECTORS, Tasks(users([0]), users([5]), np.arange(1), {}), texts)
    assert told.startswith("“Buy ‹b›now‹/b› at [link] ‘yes’” stood at place 5 of 6")


def test_only_users_who_choose_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, world = TextEncoderConfig(backbone=backbone(tmp_path / "kinds")), planted()
    standing = Layout(("title",)).prompt("item.standing", "neutral", "Says nothing.")
    told: list[Tasks] = []
    monkeypatch.setattr(misses, "worst_misses", lambda vectors, tasks, texts: told.append(tasks) or ())
    item_drafts(world.catalog, world.events, good(), standing, config=config, seed=3, probe=Probe(0, 3))
    judge = ItemJudge(world.catalog, world.events, TextEncoder(config, prompt=standing), seed=3)
    assert told[0].user_ids == judge.tasks["select"].user_ids
    assert not set(told[0].user_ids) & set(judge.tasks["report"].user_ids)


def test_a_draft_that_reads_the_column_people_choose_by_wins_the_race(tmp_path: Path) -> None:
    config = TextEncoderConfig(backbone=backbone(tmp_path / "kinds"))
    world = planted()
    # Of the standing prompt only the title is read, which says nothing.
    standing = Layout(("title", "kind"), max_tokens=8).prompt("item.standing", "neutral", "Says the kind last.")
    writer = good("{{#if kind}}\n{{kind}}\n{{/if}}\n{{title}}\n")
    proposal = item_drafts(world.catalog, world.events, writer, standing, config=config, probe=Probe(10, 10), n=2)
    assert proposal.drafted == 1
    (asked, *_) = writer.asked
    assert "Items that were liked and stood far down the list:\n“‘" in asked[1]
    assert "for somebody who likes" in asked[1]
    further = proposal.arms[:1]
    result = optimize_items(world.catalog, world.events, config=config, standing=standing, layouts=(), further=further)
    assert result.chosen.prompt is further[0]
    assert result.report.low > 0.5
