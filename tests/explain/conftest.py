"""The toy shop with departments as categories, fitted once for each file."""

from pathlib import Path

import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.testing import DEPARTMENTS, ToyShop
from tests.small import config_for, newcomer


@pytest.fixture(scope="module")
def shop(toy: ToyShop) -> ToyShop:
    """The toy shop, with departments as categories."""
    names = [DEPARTMENTS[department] for department in toy.department]
    frame = toy.catalog.frame.select("item_id", "title").with_columns(categories=pl.Series(names))
    return ToyShop(Catalog.from_frame(frame), toy.events, toy.department, toy.favourite)


@pytest.fixture(scope="module")
def fitted(tiny: Path, shop: ToyShop) -> Recommender:
    return Recommender(config_for(tiny)).fit(shop.catalog, shop.events, options=TrainOptions(seed=0))


@pytest.fixture(scope="module")
def user(shop: ToyShop) -> dict[str, list[str]]:
    return {"x": newcomer(shop, 1) + newcomer(shop, 3)}
