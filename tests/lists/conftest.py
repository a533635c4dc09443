"""A fitted shop that several files ask; nobody changes it."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.recommender import Recommender
from recllm.testing import DEPARTMENTS, ToyShop
from tests.small import config_for


@pytest.fixture(scope="session")
def sorted_shop(tiny: Path, toy: ToyShop) -> Recommender:
    """Departments are categories, three items in turn a series, and risk goes round from 1 to 5, or is not known."""
    rows = np.arange(len(toy.catalog))
    frame = toy.catalog.frame.select("item_id", "title").with_columns(
        categories=pl.Series([DEPARTMENTS[number] for number in toy.department]),
        series=pl.Series([f"series {row // 3}" for row in rows]),
        risk=pl.Series([None if row % 6 == 5 else int(row % 6) + 1 for row in rows]),
    )
    return Recommender(config_for(tiny, adaptation=None)).fit(Catalog.from_frame(frame), toy.events)
