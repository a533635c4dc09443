"""Profiles: a world in which two fields decide the taste of who has done nothing; what is read, and what is not."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recllm
from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.data.users import Users
from recllm.errors import ConfigError, DataError
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.retrieval.people import People, ProfilesConfig
from tests.small import config_for

CITIES, PLANS, ITEMS, USERS = ("Bern", "Basel", "Chur"), ("free", "pro"), 36, 420


def favourite(city: int, plan: int) -> int:
    """The first item of the six that such people like."""
    return 6 * (2 * city + plan)


def profiles(users: int = USERS) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    return pl.DataFrame(
        {
            "user_id": [f"u{user}" for user in range(users)],
            "city": [CITIES[user % 3] for user in range(users)],
            "plan": [PLANS[user // 3 % 2] for user in range(users)],
            "age": rng.integers(18, 80, users),
            "visits": rng.integers(1, 100, users),
        }
    )


@pytest.fixture(scope="module")
def world() -> tuple[Catalog, Interactions]:
    """What somebody takes is of six items that their city likes and of six that their plan does, or popular."""
    rng = np.random.default_rng(0)
    catalog = Catalog.from_frame(
        pl.DataFrame({"item_id": [f"i{row}" for row in range(ITEMS)], "title": ["garden thing"] * ITEMS})
    )
    rows = []
    for user in range(USERS):
        city, plan = user % 3, user // 3 % 2
        if city == 2 and plan == 1:
            continue  # nobody of this city has this plan: what they like follows from both
        liked = [*range(6 * city, 6 * city + 6), *range(18 + 6 * plan, 24 + 6 * plan)]
        chosen = [*rng.permutation(liked)[:5], int(30 + rng.integers(6))]
        rows += [
            (f"u{user}", f"i{item}", 1_600_000_000 + 100 * place) for place, item in enumerate(rng.permutation(chosen))
        ]
    return catalog, Interactions.from_frame(pl.DataFrame(rows, ["user_id", "item_id", "timestamp"], orient="row"))


@pytest.fixture(scope="module")
def rec(tiny: Path, world: tuple[Catalog, Interactions]) -> Recommender:
    return Recommender(config_for(tiny, adaptation=None)).fit(*world, users=profiles(), options=TrainOptions(seed=0))


def first(rec: Recommender, user: str, n: int = 1) -> list[int]:
    return [int(row.item_id[1:]) for row in rec.recommend(user, n=n, exclude_seen=False)]


def newcomers(rec: Recommender) -> Recommender:
    rows = [(f"new{city}{plan}", CITIES[city], PLANS[plan]) for city in range(3) for plan in range(2)]
    return Recommender.of(rec.fitted).update_users(pl.DataFrame(rows, ["user_id", "city", "plan"], orient="row"))


def test_a_profile_alone_makes_a_list(rec: Recommender) -> None:
    """Of everybody's best five, four or more are of their city or their plan; a pair that nobody had is one of them."""
    told = newcomers(rec)
    right = []
    for city in range(3):
        for plan in range(2):
            liked = {*range(6 * city, 6 * city + 6), *range(18 + 6 * plan, 24 + 6 * plan)}
            right += [item in liked for item in first(told, f"new{city}{plan}", 5)]
    assert np.mean(right) >= 0.9


def test_two_newcomers_with_different_profiles_get_different_lists(rec: Recommender) -> None:
    told = newcomers(rec)
    assert first(told, "new00", 5) != first(told, "new10", 5)
    nobody = first(rec, "who", 5)
    assert set(nobody) != set(first(told, "new11", 5))


def test_without_profiles_newcomers_are_alike(tiny: Path, world: tuple[Catalog, Interactions]) -> None:
    plain = Recommender(config_for(tiny, adaptation=None)).fit(*world, options=TrainOptions(seed=0))
    assert "profile" not in plain.model.channels.names
    assert first(plain, "new1", 5) == first(plain, "new2", 5)
    with pytest.raises(ConfigError, match=r"fitted without profiles; fit one with fit.*users=profiles"):
        plain.update_users(profiles())


def test_it_is_the_same_after_saving(rec: Recommender, tmp_path: Path) -> None:
    told = newcomers(rec)
    told.save(tmp_path / "model")
    again = Recommender.load(tmp_path / "model")
    assert first(again, "new01", 6) == first(told, "new01", 6)
    assert again.model.digest() == told.model.digest() != rec.model.digest()
    assert "left out as sensitive: age" in (tmp_path / "model" / "README.md").read_text()


def test_whoever_is_forgotten_has_no_profile(rec: Recommender) -> None:
    told = newcomers(rec)
    told.forget(["new00", "u0"])
    assert "new00" not in told.model.channels.people
    assert "u0" not in told.model.channels.people
    assert "u0" not in told.user_ids
    assert first(told, "new00", 5) == first(told, "who", 5)
    assert "new00" not in told.model.channels.people.users.frame["user_id"].to_list()


def test_who_keeps_no_histories_keeps_no_profiles(tiny: Path, world: tuple[Catalog, Interactions]) -> None:
    rec = Recommender(config_for(tiny, adaptation=None, keep_histories=False)).fit(*world, users=profiles())
    assert not len(rec.model.channels.people.users)
    rec.update_users(pl.DataFrame({"user_id": ["x", "y"], "city": ["Bern", "Basel"], "plan": ["pro", "pro"]}))
    assert first(rec, "x", 5) != first(rec, "y", 5)


def test_sensitive_fields_are_not_read_unless_asked_for(rec: Recommender) -> None:
    assert [field.name for field in rec.model.channels.people.fields] == ["city", "plan", "visits"]
    users = Users.from_frame(profiles())
    every = People.of(users, users.frame["user_id"].to_list(), ProfilesConfig(sensitive=True))
    assert [field.name for field in every.fields] == ["city", "plan", "age", "visits"]


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("age", True), ("Age", True), ("user_age", True), ("age group", True), ("gender", True), ("Religion", True),
        ("marital_status", True), ("zip-code", True), ("home_postcode", True), ("income", True), ("language", False),
        ("page", False), ("stage", False), ("city", False), ("sextant", False), ("message", False),
        ("occupation", False), ("userAge", True), ("PLZ", True), ("Einkommen", True), ("estado civil", True),
        ("年龄", True), ("возраст", True), ("birth-year", True), ("postal code", True), ("plan", False),
    ],
)  # fmt: skip
def test_which_names_are_sensitive(name: str, hidden: bool) -> None:
    assert (ProfilesConfig().chosen([name])[1] == (name,)) is hidden


def test_no_event_of_who_is_held_out_is_counted(tiny: Path, world: tuple[Catalog, Interactions]) -> None:
    """The counts of a value are those of base users alone."""
    from recllm.model.fit.run import FitRun
    from recllm.retrieval.channel import Lesson
    from recllm.retrieval.channels.profile import SameProfile

    catalog, events = world
    config = config_for(tiny, adaptation=None)
    run = FitRun(config, catalog, events, TrainOptions(seed=0), reserves=True, users=Users.from_frame(profiles()))
    lesson = Lesson(run.base, run.validation, np_text(), config.retrieval, counts=run.counts, people=run.people)
    with_all = Lesson(run.histories, run.validation, np_text(), config.retrieval, people=run.people)
    lesson.chosen["profile strength"] = with_all.chosen["profile strength"] = 30.0
    base, everybody = lesson.fitted(SameProfile), with_all.fitted(SameProfile)
    assert base is not None
    assert everybody is not None
    assert len(run.base) < len(run.histories)
    assert not np.allclose(base.gains, everybody.gains)
    alone = Lesson(
        run.base,
        run.validation,
        np_text(),
        config.retrieval,
        people=People.of(run.people.users.of(run.base.user_ids), run.base.user_ids, ProfilesConfig()),
    )
    alone.chosen["profile strength"] = 30.0
    found = alone.fitted(SameProfile)
    assert found is not None
    assert found.gains.shape == base.gains.shape


def np_text():  # type: ignore[no-untyped-def]
    import torch

    return torch.zeros(ITEMS, 4)


def test_an_evaluation_takes_profiles(tiny: Path, world: tuple[Catalog, Interactions]) -> None:
    config = config_for(tiny, adaptation=None)
    report = recllm.evaluate(config, *world, shots=(0,), baselines=["popularity"], users=profiles())
    value = dict(report.to_polars().filter(pl.col("metric") == "NDCG@10").select("method", "value").rows())
    assert value["recllm"] > 1.2 * value["popularity"]


def test_fields_of_every_kind() -> None:
    frame = pl.DataFrame(
        {
            "user_id": [f"u{row}" for row in range(60)],
            "likes": [["A", "b"] if row % 2 else ["a"] for row in range(60)],
            "since": pl.Series([f"20{row % 20:02d}-05-01" for row in range(60)]).str.to_date(),
            "points": [float("nan") if row == 3 else row / 7 for row in range(60)],
            "one": ["same"] * 60,
            "each": [f"text {row}" for row in range(60)],
            "level": [row % 3 for row in range(60)],
            "flag": [row % 2 == 0 for row in range(60)],
        }
    )
    users = Users.from_frame(frame)
    people = People.of(users, frame["user_id"].to_list(), ProfilesConfig())
    sizes = {field.name: field.size for field in people.fields}
    assert sizes == {"likes": 2, "since": 5, "points": 5, "level": 3, "flag": 2}
    matrix = people.matrix(["u3", "who", "u4"]).toarray()
    assert matrix.shape == (3, 17)
    assert not matrix[1].any()
    assert matrix[0].sum() == 2 + 1 + 0 + 1 + 1
    again = People.from_dict(users, people.to_dict())
    assert (again.matrix(["u3", "u4"]).toarray() == people.matrix(["u3", "u4"]).toarray()).all()
    late = people.updated(Users.from_frame(pl.DataFrame({"user_id": ["new"], "level": [9], "flag": [True]})))
    assert late.matrix(["new"]).sum() == 1, "a value that was not there at the fit says nothing"


def test_ten_thousand_values_are_the_most_frequent_of_them() -> None:
    many = pl.DataFrame(
        {"user_id": [str(row) for row in range(20_000)], "town": [f"t{row % 10_000}" for row in range(20_000)]}
    )
    people = People.of(Users.from_frame(many), many["user_id"].to_list(), ProfilesConfig())
    assert people.size == 0, "two users of each say nothing"


def test_what_is_refused(rec: Recommender, tiny: Path, world: tuple[Catalog, Interactions]) -> None:
    with pytest.raises(ConfigError, match=r"profiles.fields names 'town', and the users have city, plan, age, visits"):
        Recommender(config_for(tiny, profiles=ProfilesConfig(fields=("town",)))).fit(*world, users=profiles())
    with pytest.raises(DataError, match="profiles are a table with user_id"):
        Recommender(config_for(tiny)).fit(*world, users=world[1])
    with pytest.raises(DataError, match="user_id"):
        Users.from_frame(pl.DataFrame({"name": ["a"]}))
    twice = Users.from_frame(pl.DataFrame({"user_id": ["a", "a", None], "city": ["x", "y", "z"]}))
    assert twice.frame.rows() == [("a", "x")]
    assert twice.report.dropped == {"missing_user_id": 1, "duplicate_user": 1}
    strangers = Recommender.of(rec.fitted).update_users(pl.DataFrame({"user_id": ["stranger"], "city": ["Bern"]}))
    assert "stranger" in strangers.model.channels.people
