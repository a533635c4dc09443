"""One model, learned through the command line, for all tests that ask it something; and a part of the shipped shop."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import recllm
from recllm.cli import demo
from recllm.data.interactions import load_demo
from recllm.recommender import Recommender, RecommenderConfig
from recllm.testing import ToyShop
from tests.cli.command_line import END, NEW, told
from tests.small import QUICK_HEAD, config_for


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


@pytest.fixture(scope="module")
def part() -> tuple[recllm.Catalog, recllm.Interactions]:
    """Four hundred products, and a few hundred customers with all who came on the last day."""
    catalog, events = load_demo()
    held_out = [one.user_id for one in demo.hold_out(catalog, events)]
    item, user = pl.col("item_id"), pl.col("user_id")
    theirs = events.frame.filter(user.is_in(held_out))["item_id"].unique().to_list()
    popular = events.frame.group_by(item).len().sort("len", "item_id")["item_id"].to_list()[-400:]
    keep = {*theirs, *popular}
    came = events.frame.filter(pl.col("timestamp") >= END)["user_id"].unique().to_list()
    users = {*held_out, *came, *events.user_ids[::20]}
    few = recllm.Catalog.from_frame(catalog.frame.filter(item.is_in(keep)).select("item_id", "title"))
    return few, recllm.Interactions.from_frame(events.frame.filter(user.is_in(users), item.is_in(keep)))


@pytest.fixture(scope="module")
def in_part(part: Any, tiny: Path) -> Iterator[pytest.MonkeyPatch]:
    """The demonstrations have that part, and a model that learns it in seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(recllm), "load_demo", lambda: part)
        config = config_for(tiny, adaptation=None, domain="ecommerce", prior="shop-prior", ranking=QUICK_HEAD)
        patch.setattr(RecommenderConfig, "demo", classmethod(lambda cls: config))
        yield patch
