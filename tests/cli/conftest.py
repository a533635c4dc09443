"""One model, learned through the command line, for all tests that ask it something."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.cli.command_line import NEW, told
from tests.small import config_for


@dataclass(frozen=True)
class Learned:
    folder: Path
    fit: Any
    """What `recllm fit --json` told."""


@pytest.fixture(scope="session")
def learned(tiny: Path, toy: ToyShop, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """A folder with items, events and the model that `recllm fit` makes of them."""
    folder = tmp_path_factory.mktemp("learned")
    items = toy.catalog.frame.select("item_id", "title").with_columns(
        categories=pl.col("title").str.split(" ").list.first(), price=pl.int_range(pl.len()) % 12 + 0.5
    )
    items.write_csv(folder / "items.csv")
    toy.events.frame.select("user_id", "item_id", "timestamp").write_csv(folder / "events.csv")
    config_for(tiny).write(folder / "recllm.toml")
    arguments = ["--items", "items.csv", "--events", "events.csv", "--config", "recllm.toml", "--out", "model"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return Learned(folder, told("fit", *arguments, "--seed", "7", "--device", "cpu"))


@pytest.fixture
def here(learned: Learned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, to work in."""
    shutil.copytree(learned.folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def rec(here: Path) -> Recommender:
    (here / "new.csv").write_text(NEW, encoding="utf-8")
    return Recommender.load("model")
