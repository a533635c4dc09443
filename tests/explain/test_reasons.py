"""Explanations of the served ranking: they hold when it is asked again, can be verified, and are refused if changed."""

import contextlib
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from recllm.cli import app
from recllm.data.catalog import Catalog
from recllm.data.interactions import Interactions
from recllm.errors import DataError, RecllmError
from recllm.explain import ExplanationConfig
from recllm.explain.reasons import Reasons
from recllm.options import TrainOptions
from recllm.recommender import Recommender
from recllm.testing import DEPARTMENTS, ToyShop
from tests.small import config_for, newcomer

N = 6


def listed(recs: Any) -> list[str]:
    return [row.item_id for row in recs]


@pytest.mark.parametrize("adapt", [True, False])
def test_counterfactuals_hold_when_asked_again(fitted: Recommender, user: dict[str, list[str]], adapt: bool) -> None:
    items = listed(fitted.recommend(user, n=N, adapt=adapt))
    told = [row.evidence["counterfactual"] for row in fitted.explain(user, items, n=N, adapt=adapt)]
    assert any(told)
    for item, counterfactual in zip(items, told, strict=True):
        if counterfactual is not None:
            again = listed(fitted.recommend(user, n=N, adapt=adapt, without=counterfactual["item_ids"]))
            assert item not in again
            assert counterfactual["instead_id"] in again
            assert counterfactual["instead_id"] not in items


def test_the_channel_is_named_and_shared_categories_stand_in_the_catalog(fitted: Recommender, shop: ToyShop) -> None:
    rows = fitted.explain({"x": newcomer(shop, 1)}, [shop.catalog.item_ids[np.flatnonzero(shop.department == 1)[5]]])
    (row,) = rows
    assert row.evidence["channel"] in fitted.model.channels.names
    shared = {one["kind"]: one for one in row.evidence["attributes"]}
    assert shared["categories"]["value"] == "kitchen"
    span = shared["categories"]["spans"][0]
    held = shop.catalog.frame.filter(pl.col("item_id") == span["item_id"])["categories"][0][span["entry"]]
    assert held[span["start"] : span["end"]] == "kitchen"


# -- proofs -----------------------------------------------------------------------------------------------------------


def as_json(result: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(result.to_json())
    return rows


@pytest.fixture(scope="module")
def rows(fitted: Recommender, user: dict[str, list[str]]) -> list[dict[str, Any]]:
    return as_json(fitted.explain(user, listed(fitted.recommend(user, n=N)), n=N))


def test_every_explanation_passes(fitted: Recommender, rows: list[dict[str, Any]]) -> None:
    assert len(rows) == N
    for row in rows:
        assert str(fitted.verify_explanation(row)) == f"PASS  {row['item_id']} for x"


def test_a_saved_model_verifies_what_the_first_one_said(
    fitted: Recommender, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    fitted.save(tmp_path / "model")
    assert Recommender.load(tmp_path / "model").verify_explanation(rows[0]).passed


@pytest.mark.parametrize(
    "filters",
    [
        {"price": (None, 9), "day": ("2024-01-02", date(2024, 1, 25))},
        {"price": [3.25, 3.5, 3.75, (4, 8)]},
        {"price": [3.25, 9]},
    ],
)
def test_ranges_and_dates_can_be_verified(tiny: Path, shop: ToyShop, filters: dict[str, Any]) -> None:
    numbers = range(len(shop.catalog))
    days = pl.Series("day", [f"2024-01-{1 + row % 28:02}" for row in numbers])
    frame = shop.catalog.frame.with_columns(days, price=pl.Series([row / 4 for row in numbers]))
    rec = Recommender.from_catalog(Catalog.from_frame(frame), config=config_for(tiny))
    found = as_json(rec.recommend({"x": newcomer(shop, 1)}, n=3, explain=True, filters=filters))
    assert found
    assert all(rec.verify_explanation(row).passed for row in found)


@pytest.mark.parametrize(
    "options",
    [
        {"exclude_seen": False},
        {"candidates": ["i12", "i13", "i14", "i15", "i40", "i41"]},
        {"filters": {"categories": ["kitchen", "toys"]}},
        {"without": ["kitchen", "i0"]},
        {"wishes": ["more of garden", "never of toys"]},
        {"adapt": False, "n": 3},
        {"diversity": 0.5},
    ],
)
def test_whatever_was_asked_for_can_be_verified(
    fitted: Recommender, user: dict[str, list[str]], options: dict[str, Any]
) -> None:
    found = as_json(fitted.recommend(user, **{"n": N, "explain": True, **options}))
    assert found
    for row in found:
        assert fitted.verify_explanation(row).passed, str(fitted.verify_explanation(row))


def test_reasons_are_of_the_adapters_that_served(fitted: Recommender, user: dict[str, list[str]]) -> None:
    adapters = fitted.adapt(user, steps=3)
    recs = fitted.recommend(["x", "stranger"], n=3, adapters=adapters, explain=True)
    usual = fitted.recommend(user, n=3, explain=True)
    first, *_ = recs
    assert fitted.verify_explanation(first).passed
    assert all(fitted.verify_explanation(row).passed for row in recs)
    items = user["x"]
    rest = {"x": [{"item_id": item, "timestamp": at} for at, item in enumerate(items) if at != 5]}
    whole, less = (
        fitted.score(who, [first.item_id], adapters=fitted.adapt(who, steps=3))[0, 0]
        for who in ({"x": [{"item_id": item, "timestamp": at} for at, item in enumerate(items)]}, rest)
    )
    alone = {"x": [{"item_id": items[5], "timestamp": 5}]}
    only = fitted.score(alone, [first.item_id], adapters=fitted.adapt(alone, steps=3))[0, 0]
    nothing = fitted.score({"x": []}, [first.item_id])[0, 0]
    found = {cause["item_id"]: cause["contribution"] for cause in first.evidence["causes"]}
    if items[5] in found:
        assert found[items[5]] == pytest.approx((whole - less + only - nothing) / 2, abs=1e-3)
    contributions = [row.evidence["causes"] for row in recs.for_user("x")]
    assert contributions != [row.evidence["causes"] for row in usual]


def test_varied_lists_have_no_counterfactuals(fitted: Recommender, user: dict[str, list[str]]) -> None:
    plain, varied = (fitted.recommend(user, n=N, explain=True, diversity=diversity) for diversity in (0.0, 0.5))
    assert any(row.evidence["counterfactual"] for row in plain)
    assert not any(row.evidence["counterfactual"] for row in varied)


def test_newcomers_without_events_can_be_verified(fitted: Recommender) -> None:
    (row, *_) = as_json(fitted.recommend({"nobody": []}, explain=True))
    assert row["reason_code"] == "cold_start"
    assert fitted.verify_explanation(row).passed


def test_rows_need_not_be_written_first(fitted: Recommender, user: dict[str, list[str]]) -> None:
    for row in (*fitted.recommend(user, n=2, explain=True), *fitted.explain(user, ["i15"])):
        assert fitted.verify_explanation(row).passed


def _history(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return next(row for row in rows if row["reason_code"] == "history")


def _drop_event(row: dict[str, Any]) -> None:
    row["proof"]["history"] = row["proof"]["history"][1:]


def _another_cause(row: dict[str, Any]) -> None:
    row["evidence"]["causes"][0]["item_id"] = "i47"


@pytest.mark.parametrize(
    ("tamper", "complaint"),
    [
        (lambda row: row["evidence"]["causes"][0].update(share=0.999), "causes[0].share is said to be 0.999"),
        (lambda row: row["evidence"]["causes"][0].update(contribution=9.0), "causes[0].contribution"),
        (lambda row: row["evidence"].update(confidence=0.99), "evidence.confidence"),
        (lambda row: row["evidence"].update(n_events=60), "evidence.n_events"),
        (lambda row: row["evidence"].update(causes=[]), "evidence.causes"),
        (lambda row: row["evidence"].update(praise="best"), "evidence.praise is said to be 'best', and is missing"),
        (_another_cause, "causes[0].item_id is said to be 'i47'"),
        (lambda row: row["evidence"].update(title="Gold"), "evidence.title"),
        (lambda row: row.update(explanation="The best there is."), "the words are 'The best there is.'"),
        (lambda row: row.update(explanation=row["explanation"] + " Buy now."), "the words are"),
        (lambda row: row.update(reason_code="popular"), "reason_code"),
        (lambda row: row.update(user_id="y"), "the proof is of user 'x'"),
        (lambda row: row["proof"].update(model="0" * 64), "made by another model"),
        (_drop_event, "evidence.n_events"),
        (lambda row: row["proof"]["request"].update(n=1), "evidence.n"),
        (lambda row: row["evidence"]["wording"].update(method="L3") or row.update(explanation="Loved."), "words"),
    ],
)
def test_what_was_changed_is_refused(
    fitted: Recommender, rows: list[dict[str, Any]], tamper: Callable[[dict[str, Any]], Any], complaint: str
) -> None:
    row = copy.deepcopy(_history(rows))
    tamper(row)
    verification = fitted.verify_explanation(row)
    assert not verification.passed
    assert str(verification).startswith("FAIL")
    assert complaint in str(verification)
    assert json.loads(json.dumps(verification.to_dict()))["passed"] is False


@pytest.mark.parametrize(
    ("tamper", "message"),
    [
        (lambda row: row.pop("proof"), "has the fields evidence, explanation and proof"),
        (lambda row: row.update(evidence=[]), "has the fields"),
        (lambda row: row.update(item_id="gone"), "item 'gone', which the model's catalog does not have"),
        (lambda row: row["proof"].update(format="other"), "format 'other'"),
        (lambda row: row["proof"].update(history=3), "no proof that this version can read"),
        (lambda row: row["proof"]["history"][0].update(item_id="gone"), "history has item 'gone'"),
        (lambda row: row["proof"]["history"][0].update(timestamp=10**30), "is no event"),
        (lambda row: row["proof"]["history"][0].update(signal=300), "is no event"),
        (lambda row: row["proof"]["history"][0].update(token=-1), "is no event"),
        (lambda row: row["proof"]["history"][0].update(token=10**6), "token that the model does not know"),
        (lambda row: row["proof"]["request"].update(steps=10**9), "steps of adapting"),
        (lambda row: row["proof"]["request"].update(n=0), "at least 1"),
        (lambda row: row["proof"]["request"].update(filters={"colour": ["red"]}), "column 'colour'"),
    ],
)
def test_what_is_no_explanation_is_one_sentence(
    fitted: Recommender, rows: list[dict[str, Any]], tamper: Callable[[dict[str, Any]], Any], message: str
) -> None:
    row = copy.deepcopy(rows[0])
    tamper(row)
    with pytest.raises(ValueError, match=message):
        fitted.verify_explanation(row)
    with pytest.raises(DataError, match="JSON object"):
        fitted.verify_explanation("explanation")  # type: ignore[arg-type]


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=50)
@given(st.data())
def test_any_change_is_refused_or_one_sentence(
    fitted: Recommender, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    """Any value anywhere in an explanation is replaced by any other."""
    row = copy.deepcopy(_history(rows))
    place: Any = row
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    before, place[key] = place[key], data.draw(ODD)
    with contextlib.suppress(RecllmError):
        assert not fitted.verify_explanation(row).passed or place[key] == before


# -- steering ---------------------------------------------------------------------------------------------------------


def test_other_parts_have_reasons_of_their_own(fitted: Recommender, user: dict[str, list[str]]) -> None:
    """Also where the former ones were explained before."""
    (row,) = fitted.recommend(user, n=1, explain=True)
    head = copy.deepcopy(fitted.model.head)
    with torch.no_grad():
        head.weights.bias.neg_()
    other = fitted.with_model(replace(fitted.model, head=head), fitted.config)
    (changed,) = other.recommend(user, n=1, explain=True)
    assert other.verify_explanation(changed).passed
    assert not fitted.verify_explanation(changed).passed
    assert fitted.verify_explanation(row).passed
    assert Reasons.by(fitted._fitted()) is Reasons.by(fitted._fitted())


def departments(shop: ToyShop, recs: Any) -> list[str]:
    return [DEPARTMENTS[shop.department[row]] for row in shop.catalog.rows(listed(recs))]


def test_more_less_and_never(fitted: Recommender, shop: ToyShop, user: dict[str, list[str]]) -> None:
    usual = departments(shop, fitted.recommend(user, n=N))
    more = fitted.recommend(user, n=N, wishes=["more of garden (4)"], explain=True)
    assert departments(shop, more).count("garden") > usual.count("garden")
    asked = [row for row in more if row.reason_code == "asked"]
    assert asked
    assert all(row.explanation.endswith("You asked for more of “garden”.") for row in asked)
    assert len({row.explanation for row in asked}) == len(asked)
    less = departments(shop, fitted.recommend(user, n=N, wishes=["less of books (3)"]))
    assert less.count("books") < usual.count("books")
    never = fitted.recommend(user, n=len(shop.catalog), wishes=["never of kitchen"])
    assert "kitchen" not in departments(shop, never)
    assert len(never) == len(shop.catalog) - 12 - 3


def test_attributes_can_be_left_out(fitted: Recommender, shop: ToyShop, user: dict[str, list[str]]) -> None:
    by_value = fitted.recommend(user, n=N, without=["kitchen"])
    usual = listed(fitted.recommend(user, n=N))
    assert listed(by_value) == listed(fitted.recommend(user, n=N, without=newcomer(shop, 1)))
    assert listed(by_value) != usual
    assert "kitchen" not in departments(shop, by_value)[:3]
    with pytest.warns(UserWarning, match="'cars', which is neither an item nor a value"):
        unknown = fitted.recommend(user, n=N, without=["cars"])
    assert listed(unknown) == usual
    with pytest.warns(UserWarning, match="'cars'"):
        partly = fitted.recommend(user, n=N, without=["cars", "kitchen"])
    assert listed(partly) == listed(by_value)


def test_a_preview_shows_what_wishes_change(fitted: Recommender, user: dict[str, list[str]]) -> None:
    preview = fitted.preview(user, ["more of garden (4)"], n=N)
    before = {row.item_id: row.rank_before for row in preview if row.rank_before is not None}
    after = {row.item_id: row.rank_after for row in preview if row.rank_after is not None}
    assert before == {row.item_id: row.rank for row in fitted.recommend(user, n=N)}
    assert after == {row.item_id: row.rank for row in fitted.recommend(user, n=N, wishes=["more of garden (4)"])}
    assert "comes in" in repr(preview)
    assert list(preview.to_pandas().columns) == ["user_id", "item_id", "rank_before", "rank_after", "title"]
    assert preview.to_polars().height == len(preview)


# -- what may not be said, and the whole ------------------------------------------------------------------------------


def test_the_configuration_keeps_items_unnamed(tiny: Path, shop: ToyShop, user: dict[str, list[str]]) -> None:
    config = config_for(tiny, explanation=ExplanationConfig(never_cite=("kitchen",)))
    rec = Recommender(config).fit(shop.catalog, shop.events, options=TrainOptions(seed=0))
    found = rec.explain(user, listed(rec.recommend(user, n=N)), n=N)
    kitchen = set(newcomer(shop, 1))
    for row in found:
        named = [cause["item_id"] for cause in row.evidence["causes"]]
        named += (row.evidence["counterfactual"] or {"item_ids": []})["item_ids"]
        assert not kitchen & set(named)
        assert all(one["value"] != "kitchen" for one in row.evidence["attributes"])


def test_what_the_ranking_weighs(fitted: Recommender) -> None:
    overall = fitted.explain_ranking(known=(0, 5), n=5)
    by_known = {known: [one for one in overall.influences if one.known == known] for known in (0, 5)}
    for found in by_known.values():
        assert sum(one.share for one in found) == pytest.approx(1.0)
        assert {one.channel for one in found} == set(fitted.model.channels.names)
    of_everybody = {one.channel: one.share for one in by_known[0]}
    assert of_everybody["history"] == of_everybody["cooccurrence"] == 0.0
    assert "With nothing known of a user, the ranking weighs" in str(overall)
    assert "With 5 events known of a user" in str(overall)
    rec = Recommender.from_catalog(fitted.catalog, config=fitted.config)
    with pytest.raises(DataError, match="nobody to ask"):
        rec.explain_ranking()


def test_reasons_change_no_list(fitted: Recommender, shop: ToyShop) -> None:
    users = shop.events.of_users(shop.events.user_ids[:3])
    plain, explained = (fitted.recommend(users, n=N, explain=explain) for explain in (False, True))
    assert [(row.item_id, row.score) for row in plain] == [(row.item_id, row.score) for row in explained]


def test_events_at_other_times_than_the_log(fitted: Recommender, shop: ToyShop) -> None:
    """The clock stands still while items are left out: also the newest, after the end of the log."""
    late = [{"item_id": item, "timestamp": 1_700_000_000 + at} for at, item in enumerate(newcomer(shop, 1))]
    for row in as_json(fitted.recommend({"late": late}, n=3, explain=True)):
        assert fitted.verify_explanation(row).passed
    events = Interactions.from_mapping({"late": late})
    assert len(fitted.explain(events, ["i15"])) == 1


# -- from a terminal --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(fitted: Recommender, shop: ToyShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model, and a file of events."""
    folder = tmp_path_factory.mktemp("cli")
    fitted.save(folder / "model")
    rows = [("x", item, at) for at, item in enumerate(newcomer(shop, 1), 1_600_000_000)]
    pl.DataFrame(rows, ["user_id", "item_id", "timestamp"], orient="row").write_csv(folder / "events.csv")
    return folder


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_explain_and_verify(folder: Path) -> None:
    asked = ("--model", folder / "model", "--events", folder / "events.csv", "-n", 4)
    told = run("explain", *asked, "--wish", "never of toys", "--json")
    assert told.exit_code == 0
    (folder / "e.json").write_text(told.stdout)
    verified = run("verify-explanation", folder / "e.json", "--model", folder / "model")
    assert (verified.exit_code, verified.stdout.count("PASS")) == (0, 4)
    rows = json.loads(told.stdout)
    rows[1]["evidence"]["n_events"] = 99
    (folder / "changed.json").write_text(json.dumps(rows))
    refused = run("verify-explanation", folder / "changed.json", "--model", folder / "model")
    assert (refused.exit_code, refused.stdout.count("PASS"), refused.stdout.count("FAIL")) == (1, 3, 1)
    assert "evidence.n_events is said to be 99, and is 3" in refused.stdout
    as_json = run("verify-explanation", folder / "changed.json", "--model", folder / "model", "--json")
    assert [one["passed"] for one in json.loads(as_json.stdout)] == [True, False, True, True]


def test_explain_prints_a_table_and_the_whole(folder: Path) -> None:
    asked = ("--model", folder / "model", "--events", folder / "events.csv")
    result = run("explain", *asked, "--item", "i15", "--item", "i0")
    assert "kitchen thing number 15" in result.stdout
    assert "Because" in result.stdout
    whole = run("explain", "--model", folder / "model", "--global")
    assert whole.stdout.startswith("With nothing known of a user, the ranking weighs")
    assert json.loads(run("explain", "--model", folder / "model", "--global", "--json").stdout)[0]["words"]
    preview = run("recommend", *asked, "-n", 4, "--wish", "never of kitchen", "--preview")
    assert "leaves" in preview.stdout


@pytest.mark.parametrize("text", ["", "{", "[]", '"words"', "[[]]"])
def test_what_is_no_explanation_is_refused(folder: Path, text: str) -> None:
    (folder / "none.json").write_text(text)
    result = run("verify-explanation", folder / "none.json", "--model", folder / "model")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
