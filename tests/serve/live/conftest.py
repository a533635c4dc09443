"""A tiny shop that is served: fitted once, and opened anew for each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recllm.recommender import Recommender
from recllm.serve.live.live import Live
from recllm.serve.settings import Settings
from recllm.testing import ToyShop
from tests.small import config_for


@pytest.fixture(scope="session")
def learned(tiny: Path, toy: ToyShop) -> Recommender:
    return Recommender(config_for(tiny)).fit(toy.catalog, toy.events)


@pytest.fixture
def opened(learned: Recommender, tmp_path: Path) -> Iterator[Callable[..., Live]]:
    """Opens the server's folder, with other settings where they are given; closes what was opened."""
    there: list[Live] = []

    def open_(
        model: "Recommender | Path | None" = learned,
        folder: str = "data",
        stream: str | None = None,
        **settings: object,
    ) -> Live:
        patient = {"patience": 60.0, "waiting": 1_000, **settings}
        there.append(Live.open(tmp_path / folder, model, Settings(**patient), stream=stream))  # type: ignore[arg-type]
        return there[-1]

    yield open_
    for live in there:
        live.close()


@pytest.fixture
def live(opened: Callable[..., Live]) -> Live:
    return opened()
