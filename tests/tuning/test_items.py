"""Which prompt a fit reads, and that a model keeps the one it was fitted with, whatever becomes of its file."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recllm
from recllm.errors import PromptError
from recllm.prompting.template import load_prompt
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from recllm.tuning.items import encoder_for, item_prompt, price
from recllm.tuning.layout import Layout
from recllm.tuning.store import PromptStore
from tests.small import config_for

NEW = pl.DataFrame({"item_id": ["n1"], "title": ["garden hose"]})


def learn(toy: ToyShop, tiny: Path, prompts: object = None, **text: object) -> Recommender:
    config = config_for(tiny, adaptation=None)
    config = replace(config, text=replace(config.text, **text))
    return Recommender(config).fit(toy.catalog, toy.events, prompts=prompts)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of prompts; one was promoted."""
    store = PromptStore(tmp_path_factory.mktemp("prompts"))
    store.promote(store.add(Layout(("title", "text")).prompt("item.mine", "neutral", "Mine.")).name)
    return store.folder


def test_without_a_wish_it_is_the_prompt_of_the_settings(toy: ToyShop, tiny: Path) -> None:
    config = config_for(tiny).text
    assert item_prompt(None, toy.catalog, config) is None
    assert encoder_for(config, toy.catalog).prompt.name == config.prompt == "item.neutral"


def test_the_same_prompt_is_meant_by_folder_file_name_and_itself(toy: ToyShop, tiny: Path, folder: Path) -> None:
    config, mine = config_for(tiny).text, PromptStore(folder).current()
    for asked in (folder, str(folder), folder / f"{mine.name}.prompt", str(folder / f"{mine.name}.prompt"), mine):
        found = item_prompt(asked, toy.catalog, config)
        assert found is not None
        assert found.digest == mine.digest
    named = item_prompt("item.social", toy.catalog, config)
    assert named is not None
    assert named.digest == load_prompt("item.social").digest


def test_auto_composes_also_where_the_settings_say_it(toy: ToyShop, tiny: Path) -> None:
    config = replace(config_for(tiny).text, prompt="auto")
    for found in (item_prompt("auto", toy.catalog, config_for(tiny).text), item_prompt(None, toy.catalog, config)):
        assert found is not None
        assert found.name == "item.composed"
        assert found.digest == recllm.prompts.compose(toy.catalog).prompt.digest


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "no such name": (lambda _: "item.none", "there is no prompt"),
    "no such file": (lambda folder: folder / "item.none.prompt", "there is no prompt"),
    "nothing promoted": (lambda folder: folder.parent, "promote one"),
    "a reason": (lambda _: "reason.neutral", "no column of the catalog gives"),
    "another catalog's column": (
        lambda _: Layout(("title", "grapes")).prompt("item.wine", "neutral", "d"),
        "has the variable 'grapes', which no column",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_before_anything_is_learned(
    toy: ToyShop, tiny: Path, folder: Path, case: str
) -> None:
    asked, words = REFUSED[case]
    with pytest.raises(PromptError, match=words):
        learn(toy, tiny, asked(folder))


def test_a_model_keeps_the_prompt_it_was_fitted_with(toy: ToyShop, tiny: Path, folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(folder, mine)
    rec = learn(toy, tiny, mine)
    digest = PromptStore(mine).current().digest
    assert rec.prompts["item"].digest == digest
    assert rec.prompts["reason"].name == "reason.neutral"
    rec.save(tmp_path / "model")
    assert rec.prompts["item"].reference in (tmp_path / "model" / "README.md").read_text()
    rec.add_items(NEW)
    shutil.rmtree(mine)
    loaded = Recommender.load(tmp_path / "model")
    assert loaded.prompts["item"].digest == digest
    assert loaded.prompts["item"].source == rec.prompts["item"].source
    loaded.add_items(NEW)
    np.testing.assert_array_equal(loaded.score(["u0"], ["n1", "i3"]), rec.score(["u0"], ["n1", "i3"]))


def test_a_promotion_changes_nothing_that_is_fitted_already(
    toy: ToyShop, tiny: Path, folder: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    shutil.copytree(folder, mine)
    store, rec = PromptStore(mine), learn(toy, tiny, mine)
    before, fingerprint = rec.score(["u0"], toy.catalog.item_ids), rec.fingerprint
    store.promote(store.add(Layout(("title",)).prompt("item.other", "neutral", "d")).name)
    np.testing.assert_array_equal(rec.score(["u0"], toy.catalog.item_ids), before)
    assert rec.fingerprint == fingerprint
    assert learn(toy, tiny, mine).prompts["item"].description == "d", "prompt and vectors change as one"


def test_a_prompt_with_partials_is_saved_with_them(toy: ToyShop, tiny: Path, tmp_path: Path) -> None:
    rec = learn(toy, tiny, prompt="item.social")
    rec.save(tmp_path / "model")
    kept = Recommender.load(tmp_path / "model").prompts["item"]
    assert kept.digest == load_prompt("item.social").digest
    assert set(kept.partials) == {"item_details"}


def test_a_catalog_without_events_has_its_prompt_too(toy: ToyShop, tiny: Path, folder: Path) -> None:
    config = config_for(tiny, adaptation=None)
    for prompts in ("auto", folder):
        rec = Recommender.from_catalog(toy.catalog, config=config, prompts=prompts)
        wanted = item_prompt(prompts, toy.catalog, config.text)
        assert wanted is not None
        assert rec.prompts["item"].digest == wanted.digest


def test_auto_in_the_settings_goes_through_evaluation(toy: ToyShop, tiny: Path) -> None:
    config = config_for(tiny, adaptation=None)
    config = replace(config, text=replace(config.text, prompt="auto"))
    report = recllm.evaluate(config, toy.catalog, toy.events, shots=(3,), baselines=("text mean",))
    assert {"recllm", "text mean"} <= set(report.to_pandas()["method"])


def test_the_price_is_told_before_it_is_paid(
    toy: ToyShop, tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RECLLM_CACHE", str(tmp_path))
    config, prompt = config_for(tiny).text, load_prompt("item.neutral")
    ticks = iter([0.0, 4.0])
    texts = len({*toy.catalog.titles})
    told = price(prompt, toy.catalog, config, clock=lambda: next(ticks))
    assert told.startswith(f"encodes {len(toy.catalog):,} items again: about ")
    assert int(told.split()[-2]) >= 4 * texts // 100
    encoder_for(config, toy.catalog).encode_catalog(toy.catalog)
    assert price(prompt, toy.catalog, config).startswith("reads nothing anew")
