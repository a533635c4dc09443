"""`recllm demo` on a part of the shipped shop with a tiny model: what it tells is what happened, moved or not."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import recllm
from recllm.cli import demo, scenes, show
from recllm.cli.facts import FAR, DemoResult, Line, Reach
from recllm.cli.printing import SHOWN
from recllm.data.interactions import load_demo
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.cli.command_line import END, run
from tests.small import config_for, newcomer

DAY = 86_400.0


@pytest.fixture(scope="module")
def shown(in_part: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoResult, str, Path]:
    """What the demonstration found, what it printed of that, and where it kept the model."""
    found: list[DemoResult] = []
    folder = tmp_path_factory.mktemp("demo") / "model"
    lived = demo.run_demo
    in_part.setattr(demo, "run_demo", lambda **given: found.append(lived(**given)) or found[0])
    result = run("demo", "--out", str(folder), "--budget", "5m")
    in_part.setattr(demo, "run_demo", lived)
    assert result.exit_code == 0, result.output
    return found[0], result.stdout, folder


def printed(result: DemoResult, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(demo, "run_demo", lambda **_: result)
    answer = run("demo")
    assert answer.exit_code == 0, answer.output
    return " ".join(answer.stdout.split())


# --- what is shown -----------------------------------------------------------------------------------------------


def test_it_reads_from_top_to_bottom(shown: Any) -> None:
    result, text, folder = shown
    parts = [line for line in text.splitlines() if line.endswith("---")]
    assert [line[:2] for line in parts] == ["1.", "2.", "3.", "4.", "5.", "Wh"]
    assert max(len(line) for line in text.splitlines() if str(folder) not in line) <= 100
    assert len(text.splitlines()) < 190
    first, second, third = result.customers
    assert text.count("After 1 product (") == text.count("After 3 products (") == text.count("After 6 products (") == 1
    assert text.count(f"Customer {second.user_id} (") == text.count(f"Customer {third.user_id} (") == 1
    for line in first.lists[0].lines[:SHOWN]:
        assert line.title in text
        assert str(line.explanation) in " ".join(text.split())
    assert f"A refit is {'due' if result.freshness.refit_due else 'not due'}; " in text
    assert result.freshness == Recommender.load(folder).freshness().at(None)
    assert f"recllm recommend --model {folder} --user {result.forgotten.user_id} --explain" in text


def test_json_has_everything(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result, _, _ = shown
    monkeypatch.setattr(demo, "run_demo", lambda **_: result)
    answer = run("demo", "--json")
    assert json.loads(answer.stdout) == json.loads(json.dumps(dataclasses.asdict(result)))


def test_the_model_that_is_kept_is_that_of_before_the_made_up_product(shown: Any) -> None:
    result, _, folder = shown
    kept = Recommender.load(folder)
    assert demo.PRODUCT["item_id"] not in kept.catalog.item_ids
    assert result.forgotten.user_id in kept.user_ids
    assert result.model_bytes == sum(path.stat().st_size for path in folder.iterdir())


# --- that it is true ---------------------------------------------------------------------------------------------


def test_nobody_who_is_met_was_learned_from(part: Any, shown: Any) -> None:
    result, _, folder = shown
    _, events = part
    kept = Recommender.load(folder)
    met = [customer.user_id for customer in result.customers]
    assert len(set(met)) == 3
    assert not set(met) & set(kept.user_ids)
    assert result.n_events == events.without_users(met).before(END).frame.height
    assert result.until < result.day.date == "2011-12-09"
    assert result.day.n_events == events.without_users(met).frame.filter(pl.col("timestamp") >= END).height


def test_marks_and_places_are_those_of_the_lists(part: Any, shown: Any) -> None:
    result, text, _ = shown
    catalog, events = part
    titles = dict(zip(catalog.item_ids, catalog.titles, strict=True))
    held_out = {one.user_id: one for one in demo.hold_out(catalog, events)}
    for customer in result.customers:
        one = held_out[customer.user_id]
        told = [title for meeting in customer.lists for title in meeting.fresh]
        assert told == [titles[item] for item in one.given]
        for meeting in customer.lists:
            assert [line.rank for line in meeting.lines] == list(range(1, 11))
            assert not {line.item_id for line in meeting.lines} & set(one.given[: meeting.known])
            for line in meeting.lines:
                assert line.bought_too is (line.item_id in one.rest)
    first = result.customers[0]
    for before, after in zip(first.lists, first.lists[1:], strict=False):
        ranks = {line.item_id: line.rank for line in before.lines}
        for line in after.lines:
            if line.item_id in ranks:
                assert line.rank_before == ranks[line.item_id]
            else:
                assert line.rank_before is None or line.rank_before > 10
    marks = sum(bool(line.bought_too) for customer in result.customers for line in customer.lists[-1].lines)
    assert f"ten places each: {marks} of 30" in " ".join(text.split())


def test_the_forgotten_are_gone_and_it_is_proved(shown: Any) -> None:
    gone = shown[0].forgotten
    assert gone.digest_before != gone.digest_after == gone.digest_recounted
    assert (gone.is_remembered, gone.is_stranger, gone.in_weights) == (False, True, True)
    assert shown[1].count("the same") >= 1
    assert "NOT the same" not in shown[1]


def test_what_did_not_happen_is_not_told(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result, _, _ = shown
    gone = dataclasses.replace(
        result.forgotten, digest_recounted="0" * 64, is_remembered=True, is_stranger=False, in_weights=False
    )
    still = tuple(dataclasses.replace(line, rank_before=line.rank) for line in result.day.visitor.lines)
    day = dataclasses.replace(result.day, moved=0, visitor=dataclasses.replace(result.day.visitor, lines=still))
    arrival = dataclasses.replace(
        result.arrival, search_rank=None, reach=tuple(Reach(sold, 1.0, 0, None, None) for sold in (0, 5))
    )
    text = printed(dataclasses.replace(result, forgotten=gone, day=day, arrival=arrival, saved_to=None), monkeypatch)
    assert "STILL remembered" in text
    assert "NOT the same" in text
    assert "would be shown" not in text
    assert "stays until the next fit" not in text
    assert "0 have another list" in text
    assert "sees the same 5 products" in text
    assert f"not among the first {FAR}" in text
    assert text.count("it is in 0 lists.") == 2
    assert "was not kept" in text


def test_titles_do_not_control_the_terminal(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result, _, _ = shown
    wild = dataclasses.replace(result.customers[1], user_id="\x1b[31mx")
    text = printed(dataclasses.replace(result, customers=(result.customers[0], wild)), monkeypatch)
    assert "\x1b" not in text


@pytest.mark.parametrize(("before", "text"), [(4, "4"), (None, ">200")])
def test_a_place_before(before: int | None, text: str) -> None:
    assert show._was(Line(rank=3, item_id="1", title="x", score=1.0, rank_before=before)) == text


# --- whom and when -----------------------------------------------------------------------------------------------


def test_customers_are_chosen_by_hash_and_told_little() -> None:
    catalog, events = load_demo()
    chosen = demo.hold_out(catalog, events)
    assert chosen == demo.hold_out(catalog, events)
    assert demo.last_day(events) == END
    for one in chosen:
        times = events.frame.filter(pl.col("user_id") == one.user_id)["timestamp"]
        assert END - 28 * DAY <= times.min() < END
        assert 8 <= len(times) == one.n_events <= 40
        assert len(one.rest) >= 3
        for n in demo.STEPS:
            told = one.told(events, n).frame
            assert set(told["item_id"]) == set(one.given[:n])
            assert told["timestamp"].max() <= one.times[n - 1] < END
            assert not set(told["item_id"]) & one.rest


# --- the scenes, in a world whose answers are known --------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tiny: Path, toy: ToyShop) -> Recommender:
    return Recommender(config_for(tiny, adaptation=None)).fit(toy.catalog, toy.events)


def test_a_customer_who_turns_to_another_department_sees_its_things_come(shop: Recommender, toy: ToyShop) -> None:
    garden, toys = newcomer(toy, 0)[:2], newcomer(toy, 2)[:2]
    end = float(toy.events.frame["timestamp"].max() or 0.0)
    rows = [{"user_id": "ann", "item_id": item, "timestamp": end + n} for n, item in enumerate([*garden, *toys])]
    rest = frozenset(toy.catalog.item_ids[row] for row in (toy.department == 2).nonzero()[0]) - {*toys}
    times = tuple(row["timestamp"] for row in rows)
    ann = scenes.HeldOut("ann", 4, (*garden, *toys), rest, times)
    log = recllm.Interactions.from_frame(rows)
    customer = scenes.meet(copy.copy(shop), ann, log, (2, 4), scenes.Visitor.of(shop))
    before, after = customer.lists
    assert (before.known, after.known, len(before.fresh), len(after.fresh)) == (2, 4, 2, 2)
    assert sum(bool(line.bought_too) for line in before.lines) < sum(bool(line.bought_too) for line in after.lines)
    assert any(line.rank < (line.rank_before or FAR) for line in after.lines if line.bought_too)


def test_a_day_moves_lists_if_it_is_taken_in(shop: Recommender, toy: ToyShop, monkeypatch: pytest.MonkeyPatch) -> None:
    log = toy.events
    end = float(log.frame["timestamp"].max() or 0.0) + DAY
    had = {user: set(items) for user, items in log.frame.group_by("user_id").agg("item_id").iter_rows()}
    rows = [
        {"user_id": user, "item_id": item, "timestamp": end + 1}
        for user in log.user_ids[:20]
        for item in [item for item in toy.catalog.item_ids[::-1] if item not in had[user]][:3]
    ]
    day = recllm.Interactions.from_frame([*rows, {"user_id": "new", "item_id": "i0", "timestamp": end}])
    before = scenes.Visitor.of(shop)
    lived = scenes.live_through(copy.copy(shop), log, day, before)
    assert (lived.n_events, lived.n_users, lived.n_new_users) == (61, 21, 1)
    assert (lived.asked, lived.fresh, lived.bystanders) == (20, 60, len(log.user_ids) - 20)
    assert lived.moved > 0
    assert 0 <= lived.foreseen <= 60
    assert [line.rank_before for line in lived.visitor.lines] != list(range(1, 11))
    assert len(lived.customer.bought) == 3
    monkeypatch.setattr(Recommender, "update", lambda self, events: self)
    asleep = scenes.live_through(copy.copy(shop), log, day, before)
    assert asleep.moved == 0
    assert [line.rank_before for line in asleep.visitor.lines] == list(range(1, 11))
    assert [line.rank_before for line in asleep.customer.lines] == list(range(1, 11))


def test_a_product_is_found_by_its_text_and_rises_with_its_sales(shop: Recommender, toy: ToyShop) -> None:
    rec = copy.copy(shop)
    product = recllm.Catalog.from_frame([{"item_id": "fresh", "title": "garden thing number 99"}])
    arrival, log = scenes.arrive(rec, product, "garden thing number 99", toy.events)
    assert (arrival.title, arrival.search_rank) == ("garden thing number 99", 1)
    assert len(arrival.near) == 3
    assert all(title.startswith("garden") for title in arrival.near)
    unsold, sold = arrival.reach
    assert (unsold.sold, sold.sold) == (0, scenes.SALES)
    assert unsold.best is not None
    assert sold.best is not None
    assert sold.best.rank <= unsold.best.rank
    assert sold.listed >= unsold.listed
    assert len(log) == len(toy.events) + scenes.SALES
    assert set(log.frame.filter(pl.col("item_id") == "fresh")["user_id"]).isdisjoint({unsold.best_user})


def test_a_farewell_that_leaves_something_behind_is_noticed(
    shop: Recommender, toy: ToyShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = toy.events.user_ids[3]
    gone = scenes.forget(copy.copy(shop), user, toy.events)
    assert gone.digest_after == gone.digest_recounted != gone.digest_before
    assert (gone.is_remembered, gone.is_stranger) == (False, True)
    assert gone.n_events == len(toy.events.of_users([user]))
    monkeypatch.setattr(Recommender, "forget", lambda self, users: self)
    kept = scenes.forget(copy.copy(shop), user, toy.events)
    assert kept.digest_after == kept.digest_before != kept.digest_recounted
    assert (kept.is_remembered, kept.is_stranger) == (True, False)
