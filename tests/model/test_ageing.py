"""How fast lists grow old: fast where tastes change, not at all where they do not."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recllm.adaptation.drift import DriftConfig
from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.encoders.config import BaseTrainingConfig
from recllm.model.fit import ageing
from recllm.options import TrainOptions
from recllm.ranking.head import RankingConfig
from recllm.recommender import Recommender
from tests.small import config_for

WEEK, WEEKS, USERS, ITEMS = ageing.WEEK, 24, 150, 96
QUICK = {
    "adaptation": None,
    "training": BaseTrainingConfig(steps=2, batch_users=16, validate_every=2),
    "ranking": RankingConfig(hidden=8, folds=1, rounds=2, tasks=200, epochs=6),
}


def shop(drift: bool, users: int = USERS, seed: int = 0) -> tuple[Catalog, Interactions]:
    """Everybody takes an item a fortnight of the dozen in fashion, which changes weekly; or of two dozen that stay."""
    rng, rows = np.random.default_rng(seed), []
    for user in range(users):
        taken: set[int] = set()
        for week in range(int(rng.integers(2)), WEEKS, 2):
            first = 4 * week if drift else 0
            of = [item for item in range(first, first + (12 if drift else 24)) if item % ITEMS not in taken]
            item = int(rng.choice(of)) % ITEMS
            taken.add(item)
            rows.append((f"u{user}", f"i{item}", 1e9 + week * WEEK + float(rng.integers(0, int(WEEK)))))
    names = {"item_id": [f"i{item}" for item in range(ITEMS)], "title": [f"thing {item}" for item in range(ITEMS)]}
    events = pl.DataFrame(rows, ["user_id", "item_id", "timestamp"], orient="row")
    return Catalog.from_frame(pl.DataFrame(names)), Interactions.from_frame(events)


def lost(points: list[tuple[float, float, float, int]]) -> float:
    """Share of the figure of renewed counts that those lose which stood still, over the later half of the curve."""
    late = points[len(points) // 2 :]
    weights = [tasks for *_, tasks in late]
    stale, fresh = (np.average([point[place] for point in late], weights=weights) for place in (1, 2))
    return float(1 - stale / fresh)


@pytest.fixture(scope="module")
def shops(tiny: Path) -> dict[bool, Recommender]:
    return {drift: Recommender(config_for(tiny, **QUICK)).fit(*shop(drift)) for drift in (True, False)}


def test_lists_grow_old_where_fashion_changes_and_only_there(shops: dict[bool, Recommender]) -> None:
    assert lost(shops[True].report.ageing) > 0.3
    assert lost(shops[False].report.ageing) < 0.15


def test_the_curve_begins_even_and_goes_through_the_later_half(shops: dict[bool, Recommender]) -> None:
    points = shops[True].report.ageing
    weeks = [point[0] for point in points]
    assert points[0][1] == points[0][2], "at the moment at which the clock is stopped, nothing is old"
    assert weeks == sorted(weeks)
    assert 0 < weeks[0] < 4
    assert weeks[-1] == pytest.approx(WEEKS / 2, abs=3)
    assert all(tasks > 0 for *_, tasks in points)


def test_how_far_the_shops_adapter_may_move_is_chosen_on_the_same_weeks(shops: dict[bool, Recommender]) -> None:
    """Where fashion changes by the week it may move farther than by default."""
    moving = shops[True].adapters.drift.config
    assert moving.pull < DriftConfig().pull
    assert shops[True].adapters.version == 0, "chosen, and not learned"
    assert shops[True].report.chosen["shop's adapter"] == f"pull {moving.pull:g}, reach {moving.reach:g}"


def test_it_is_kept_with_the_model(shops: dict[bool, Recommender], tmp_path: Path) -> None:
    shops[True].save(tmp_path / "model")
    loaded = Recommender.load(tmp_path / "model")
    assert loaded.report.ageing == shops[True].report.ageing
    assert loaded.adapters.drift.config == shops[True].adapters.drift.config


def test_a_budget_ends_it_early_and_large_catalogs_do_without(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ageing, "AGEING_SHARE", 0.0)
    cut = Recommender(config_for(tiny, **QUICK)).fit(*shop(True, 40), options=TrainOptions(budget="10m"))
    assert len(cut.report.ageing) == 1
    monkeypatch.setattr(ageing, "SLOW_ITEMS", 10)
    assert Recommender(config_for(tiny, **QUICK)).fit(*shop(True, 40)).report.ageing == []
