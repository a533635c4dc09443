"""Profiles: a world in which two fields decide the taste of who has done nothing; what is read, and what is not."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recllm
from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.data.users import Users
from recllm.encoders.config import BaseTrainingConfig
from recllm.errors import ArtifactError, ConfigError, DataError
from recllm.model.weights import taking_weights, with_renewed_weights, without_pairs
from recllm.options import TrainOptions
from recllm.ranking.head import RankingConfig
from recllm.recommender import Recommender
from recllm.retrieval.channels.profile import SameProfile
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
    return Recommender(quick(tiny)).fit(*world, users=profiles(), options=TrainOptions(seed=0))


def quick(tiny: Path, **changes: object) -> recllm.RecommenderConfig:
    """What is counted is the same after a few steps of training."""
    training = BaseTrainingConfig(steps=5, batch_users=32, validate_every=5)
    ranking = RankingConfig(tasks=150, rounds=1, epochs=6)
    return config_for(tiny, adaptation=None, training=training, ranking=ranking, **changes)


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
    plain = Recommender(quick(tiny)).fit(*world, options=TrainOptions(seed=0))
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
    assert pl.read_ipc(tmp_path / "model" / "profiles.arrow").columns == ["user_id", "city", "plan", "visits"]


def test_whoever_is_forgotten_has_no_profile(rec: Recommender) -> None:
    told = newcomers(rec)
    told.forget(["new00", "u0"])
    assert "new00" not in told.model.channels.people
    assert "u0" not in told.model.channels.people
    assert "u0" not in told.user_ids
    assert first(told, "new00", 5) == first(told, "who", 5)
    assert "new00" not in told.model.channels.people.users.frame["user_id"].to_list()


def test_who_keeps_no_histories_keeps_no_profiles(tiny: Path, world: tuple[Catalog, Interactions]) -> None:
    rec = Recommender(quick(tiny, keep_histories=False)).fit(*world, users=profiles())
    assert not len(rec.model.channels.people.users)
    told = pl.DataFrame({"user_id": ["x", "y"], "city": ["Bern", "Basel"], "plan": ["pro", "pro"]})
    with pytest.raises(ConfigError, match="keeps nothing of users"):
        rec.update_users(told)
    recs = rec.recommend({"x": [], "y": []}, n=5, profiles=told)
    lists = {user: [row.item_id for row in recs if row.user_id == user] for user in "xy"}
    assert lists["x"] != lists["y"]
    assert not len(rec.model.channels.people.users)


def test_a_profile_can_come_with_the_question(rec: Recommender) -> None:
    told = newcomers(rec)
    items = rec.catalog.item_ids
    profile = pl.DataFrame({"user_id": ["visitor"], "city": ["Bern"], "plan": ["pro"]})
    np.testing.assert_array_equal(rec.score({"visitor": []}, items, profiles=profile), told.score(["new01"], items))
    np.testing.assert_array_equal(rec.score({"visitor": []}, items), rec.score({"who": []}, items))


def test_a_reason_says_that_a_profile_is_why_and_never_which_value(rec: Recommender) -> None:
    """What is in the list of whoever has no profile, too, is popular and is said to be that."""
    told = newcomers(rec)
    without = {row.item_id for row in rec.recommend("who", n=16, exclude_seen=False)}
    rows = list(told.recommend("new11", n=16, exclude_seen=False, explain=True))
    codes = {row.item_id: row.reason_code for row in rows}
    assert codes == {row.item_id: "cold_start" if row.item_id in without else "profile" for row in rows}
    assert {*codes.values()} == {"profile", "cold_start"}
    for row in rows:
        said = f"{row.explanation} {row.evidence}"
        assert ("with a profile like yours" in said) == (row.reason_code == "profile")
        assert not any(value.casefold() in said.casefold() for value in (*CITIES, "pro "))
        assert told.verify_explanation(row).passed
    forged = {**asdict(rows[0]), "reason_code": "cold_start" if rows[0].reason_code == "profile" else "profile"}
    assert not told.verify_explanation(forged).passed
    assert {row.reason_code for row in rec.recommend("who", n=5, explain=True)} == {"cold_start"}


def test_what_is_counted_of_a_profile_goes_with_it_to_the_last_bit(
    rec: Recommender, world: tuple[Catalog, Interactions]
) -> None:
    """Forgetting leaves what a shop has that never saw them; events and changed profiles are counted as they are."""
    gone = ["u3", "u12", "u13"]
    one = Recommender.of(rec.fitted).forget(gone)
    empty = Recommender.of(rec.fitted).forget(list(world[1].user_ids))
    assert counted(empty).counts.nnz == 0
    assert not counted(empty).liked.any()
    empty.update_users(Users.from_frame(profiles()).without(gone))
    empty.update(world[1].without_users(gone))
    assert same_counts(one, empty)
    assert not same_counts(one, rec)
    changed = Recommender.of(rec.fitted)
    changed.update_users(pl.DataFrame({"user_id": ["u0"], "city": ["Chur"], "plan": ["pro"], "visits": [None]}))
    moved = (counted(changed).counts - counted(rec).counts).toarray()
    assert moved.sum(axis=0).min() == -1, "of three values, one is gone"
    assert same_counts(changed.update_users(Users.from_frame(profiles()).of(["u0"])), rec)


def test_weights_that_were_fitted_meanwhile_take_no_count_back(
    rec: Recommender, world: tuple[Catalog, Interactions]
) -> None:
    """What is served fits weights beside the events that come in; what these have told of profiles stays told."""
    since = without_pairs(rec.fitted)
    renewed = with_renewed_weights(since)
    state, _ = since.updated(Interactions.from_mapping({"u0": ["i35", "i34", "i33", "i32"]}), weights=False)
    taken = Recommender.of(taking_weights(state, renewed, since))
    assert same_counts(taken, Recommender.of(state))
    assert not same_counts(taken, rec)


def counted(rec: Recommender) -> SameProfile:
    channel = rec.model.channels["profile"]
    assert isinstance(channel, SameProfile)
    return channel


def same_counts(one: Recommender, other: Recommender) -> bool:
    first, second = counted(one).tensors(), counted(other).tensors()
    return all(np.array_equal(first[name], second[name]) for name in first)


def test_a_model_that_counts_other_values_is_not_loaded(rec: Recommender, tmp_path: Path) -> None:
    fields = rec.model.channels.people.fields
    people = replace(rec.model.channels.people, fields=fields[:1])
    model = rec.model.with_channels(replace(rec.model.channels, people=people))
    rec.with_model(model, rec.config).save(tmp_path / "model")
    with pytest.raises(ArtifactError, match="other values of profiles are counted"):
        Recommender.load(tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "line", "age"), [("users.dat", "1::F::35::10::48067\n", 35), ("u.user", "1|24|M|lawyer|85711\n", 24)]
)
def test_users_of_movielens_are_known_by_the_names_of_their_files(
    tmp_path: Path, name: str, line: str, age: int
) -> None:
    (tmp_path / name).write_text(line)
    users = Users.read(tmp_path / name)
    assert set(users.fields) == {"gender", "age", "occupation", "zip_code"}
    assert users.frame["age"].to_list() == [age]
    assert users.to_arrow().num_rows == 1


def test_sensitive_fields_are_not_read_unless_asked_for(rec: Recommender) -> None:
    assert [field.name for field in rec.model.channels.people.fields] == ["city", "plan", "visits"]
    users = Users.from_frame(profiles())
    every = People.of(users, users.frame["user_id"].to_list(), ProfilesConfig(sensitive=True))
    assert [field.name for field in every.fields] == ["city", "plan", "age", "visits"]


def test_what_is_not_read_of_a_profile_is_not_kept(rec: Recommender) -> None:
    people = rec.model.channels.people
    assert people.users.fields == ("city", "plan", "visits")
    late = people.updated(Users.from_frame(pl.DataFrame({"user_id": ["new"], "plan": [PLANS[0]], "religion": ["x"]})))
    assert late.users.fields == people.users.fields
    assert late.matrix(["new"]).nnz == 1
    assert People.from_dict(Users.from_frame(profiles()), people.to_dict()).users.fields == people.users.fields


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

    catalog, events = world
    config = quick(tiny)
    run = FitRun(config, catalog, events, TrainOptions(seed=0), reserves=True, users=Users.from_frame(profiles()))
    lesson = Lesson(run.base, run.validation, np_text(), config.retrieval, counts=run.counts, people=run.people)
    with_all = Lesson(run.histories, run.validation, np_text(), config.retrieval, people=run.people)
    lesson.chosen["profile strength"] = with_all.chosen["profile strength"] = 30.0
    base, everybody = lesson.fitted(SameProfile), with_all.fitted(SameProfile)
    assert base is not None
    assert everybody is not None
    assert len(run.base) < len(run.histories)
    assert base.liked.sum() == run.base.n_events
    assert everybody.liked.sum() == run.histories.n_events
    assert base.counts.sum() == 3 * run.base.n_events, "three fields of each user"


def np_text():  # type: ignore[no-untyped-def]
    import torch

    return torch.zeros(ITEMS, 4)


def test_an_evaluation_takes_profiles(tiny: Path, world: tuple[Catalog, Interactions]) -> None:
    config = quick(tiny)
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
