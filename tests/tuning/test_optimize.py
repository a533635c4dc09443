"""A race over the prompts of a planted world: what says nothing loses, and nothing is chosen where nothing pays."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import recllm
from recllm.encoders.text import TextEncoderConfig
from recllm.errors import DataError
from recllm.options import TrainOptions
from recllm.prompting.template import load_prompt
from recllm.tuning.judge import ItemJudge
from recllm.tuning.layout import Layout
from recllm.tuning.optimize import Optimized, optimize_items
from recllm.tuning.store import PromptStore
from tests.tuning.world import ITEMS, World, backbone, planted

LAYOUTS = [
    Layout(("kind",)),
    Layout(("kind", "title")),
    Layout(("title", "text")),
    Layout(("text",)),
    Layout(("maker",)),
]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TextEncoderConfig:
    return TextEncoderConfig(backbone=backbone(tmp_path_factory.mktemp("kinds")))


@pytest.fixture(scope="module")
def world() -> World:
    return planted()


def raced(world: World, config: TextEncoderConfig, **how: Any) -> Optimized:
    standing = Layout(("title",)).prompt("item.standing", "neutral", "Says nothing.")
    return optimize_items(world.catalog, world.events, config=config, standing=standing, layouts=LAYOUTS, **how)


@pytest.fixture(scope="module")
def result(world: World, config: TextEncoderConfig) -> Optimized:
    return raced(world, config)


def test_the_column_that_people_choose_by_wins_by_much(result: Optimized) -> None:
    assert not result.kept
    assert "kind" in result.chosen.layout
    assert result.report.low > 0.5, "more than half as good again, for users who had no part in it"
    assert result.select.low > 0
    assert result.figures["leader"]["recall"] > result.figures["standing"]["recall"]
    assert result.verdict.startswith("chose 'kind")


def test_arms_that_are_surely_behind_say_by_how_much(result: Optimized) -> None:
    for number, arm in enumerate(result.arms):
        if number and "kind" not in arm.layout:
            assert result.race.stopped(number).startswith("behind the leader: -")


def test_where_people_choose_by_nothing_the_standing_prompt_is_kept(config: TextEncoderConfig) -> None:
    ahead = 0
    for seed in range(7, 12):  # of twelve such worlds one is wrong by chance, which is another
        result = raced(planted(seed=seed, random=True), config, options=recllm.TrainOptions(seed=seed))
        assert result.kept
        assert result.chosen.prompt.name == "item.standing"
        assert result.verdict.startswith("kept the standing prompt: ")
        ahead += result.select.low > 0
    assert ahead == 1, "who has chosen the best of six believes in it"


def test_who_chooses_and_who_reports_are_different_people(world: World, config: TextEncoderConfig) -> None:
    encoder = recllm.encoders.text.TextEncoder(config)
    judge = ItemJudge(world.catalog, world.events, encoder, seed=0)
    select, report = (set(judge.tasks[name].user_ids) for name in ("select", "report"))
    assert select
    assert report
    assert not select & report
    other = ItemJudge(world.catalog, world.events, encoder, seed=1)
    assert set(other.tasks["select"].user_ids) != select
    assert not np.array_equal(other.held_out, judge.held_out)


def test_texts_are_read_where_the_options_say(
    world: World, config: TextEncoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, read = [], recllm.encoders.text.TextEncoder.encode
    monkeypatch.setattr(TrainOptions, "torch_device", lambda self: f"the {self.device}")

    def encode(self: Any, texts: list[str], *, device: str = "cpu", **how: Any) -> Any:
        asked.append(device)
        return read(self, texts, **how)

    monkeypatch.setattr("recllm.encoders.text.TextEncoder.encode", encode)
    raced(world, config, options=TrainOptions(device="gpu"))
    assert set(asked) == {"the gpu"}


def test_liking_begins_where_the_settings_say(world: World, config: TextEncoderConfig) -> None:
    rated = world.events.frame.with_columns(rating=pl.lit(3.0))
    events = recllm.Interactions.from_frame(rated)
    encoder = recllm.encoders.text.TextEncoder(config)
    assert len(ItemJudge(world.catalog, events, encoder, seed=0, liked_from=3.0).tasks["select"]) == 100
    result = recllm.prompts.optimize(world.catalog, events, config=config, most=2, liked_from=3.0)
    assert result.report.n == 100
    with pytest.raises(DataError, match="0 users have enough"):
        recllm.prompts.optimize(world.catalog, events, config=config, most=2, liked_from=4.0)


def test_a_part_of_the_catalog_is_that_with_the_most_events(world: World, config: TextEncoderConfig) -> None:
    judge = ItemJudge(world.catalog, world.events, recllm.encoders.text.TextEncoder(config), seed=0)
    part, whole = judge.scope(40), judge.scope()
    assert (len(part.rows), len(whole.rows)) == (40, ITEMS)
    assert judge.counts[part.rows].min() >= np.sort(judge.counts)[-40]
    for tasks in part.tasks.values():
        assert tasks.query.item_rows.max() < 40
    assert (part.held_out == judge.held_out[part.rows]).all()


def test_a_large_catalog_is_read_in_part_first(
    world: World, config: TextEncoderConfig, result: Optimized, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recllm.tuning.optimize.FIRST_TOKENS", 1)
    monkeypatch.setattr("recllm.tuning.optimize.FEWEST_ITEMS", 60)
    monkeypatch.setattr("recllm.tuning.optimize.FINALISTS", (1, 1))
    two = raced(world, config)
    assert (two.facts["items"], result.facts["items"]) == ([60, ITEMS], [ITEMS])
    assert "kind" in two.chosen.layout
    assert sum(len(laps) == 2 for laps in two.race.laps) == 2, "the best one and the standing prompt"


def test_the_same_seed_gives_the_same_race(world: World, config: TextEncoderConfig, result: Optimized) -> None:
    again = raced(world, config)
    assert again.to_dict() == result.to_dict()


def test_out_of_time_the_verdict_says_so(
    world: World, config: TextEncoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recllm.tuning.optimize.FIRST_TOKENS", 1)
    monkeypatch.setattr("recllm.tuning.optimize.FEWEST_ITEMS", 60)
    ticks = iter(range(0, 10_000, 60))
    result = raced(world, config, options=recllm.TrainOptions(budget="1m", clock=lambda: float(next(ticks))))
    assert result.race.cut
    assert "Time was up" in result.verdict
    assert result.facts["items"] == [60]


def test_more_tokens_have_to_be_worth_their_price(world: World, config: TextEncoderConfig) -> None:
    standing = Layout(("kind",)).prompt("item.standing", "neutral", "All there is to know.")
    wordy = [Layout(("kind", "title", "maker", "text"))]
    result = optimize_items(world.catalog, world.events, config=config, standing=standing, layouts=wordy)
    assert result.kept
    assert result.arms[1].tokens > 3 * result.arms[0].tokens


def test_what_says_the_same_is_tried_once(world: World, config: TextEncoderConfig) -> None:
    twice = [Layout(("title", "categories")), Layout(("title",)), Layout(("text",), max_tokens=100), Layout(("text",))]
    standing = Layout(("title",)).prompt("item.standing", "neutral", "d")
    result = optimize_items(world.catalog, world.events, config=config, standing=standing, layouts=twice)
    assert [arm.layout.partition(" ")[0] for arm in result.arms] == [f"{standing.reference},", "text"]


def test_every_arm_is_kept_with_its_lineage(result: Optimized, world: World, tmp_path: Path) -> None:
    kept = result.written(PromptStore(tmp_path))
    store = PromptStore(tmp_path)
    name = kept.chosen.prompt.name
    assert name.startswith("item.arm-")
    lineage = store.prompt(name).metadata["lineage"]
    assert lineage["parent"] == result.arms[0].prompt.reference
    assert lineage["gain"]["low"] == pytest.approx(result.report.low, abs=1e-4)
    assert (lineage["seed"], lineage["arms"]) == (0, len(result.arms))
    assert lineage["catalog"] == world.catalog.fingerprint[:16]
    (root,) = store.tree()
    assert root.reference == lineage["parent"]
    assert {node.lost for node in root.children if node.name != name} == {True}
    assert len(root.children) == len(result.arms) - 1
    lost = next(node for node in root.children if node.lost)
    assert lost.facts["stopped"]
    assert store.prompt(name).digest == result.chosen.prompt.digest, "lineage is no part of the version"


def test_too_few_users_are_told_what_to_do_instead(world: World, config: TextEncoderConfig) -> None:
    few = world.events.of_users([f"u{user}" for user in range(30)])
    with pytest.raises(DataError, match="compose one from the catalog instead"):
        optimize_items(world.catalog, few, config=config)


def test_without_a_standing_prompt_it_is_that_of_the_domain(world: World, config: TextEncoderConfig) -> None:
    result = optimize_items(world.catalog, world.events, config=config, layouts=[Layout(("kind",))])
    assert result.arms[0].prompt.digest == load_prompt("item.neutral").digest
    further = replace(Layout(("kind",)), labels="none").prompt("item.written", "neutral", "By a model.")
    result = optimize_items(world.catalog, world.events, config=config, layouts=[], further=[further])
    assert [arm.prompt.name for arm in result.arms] == ["item.neutral", "item.written"]
