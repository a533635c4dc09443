"""`recllm demo --small` on a part of the shipped shop with a tiny model: its three lists are what they are called."""

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import recllm
from recllm.cli import demo, small
from recllm.cli.facts import Line, SmallResult
from recllm.cli.printing import SHOWN
from recllm.cli.scenes import HeldOut, hash_of
from recllm.recommender import Recommender
from tests.cli.command_line import END, run


@pytest.fixture(scope="module")
def shown(
    in_part: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SmallResult, str, Path, list[Recommender]]:
    """What was found, what was printed of that, where the model was kept, and what was fitted."""
    found: list[SmallResult] = []
    fitted: list[Recommender] = []
    folder = tmp_path_factory.mktemp("small") / "model"
    lived, fit = small.run_small, Recommender.fit
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small, "run_small", lambda **given: found.append(lived(**given)) or found[0])
        patch.setattr(Recommender, "fit", lambda self, *given, **more: fitted.append(self) or fit(self, *given, **more))
        result = run("demo", "--small", "--out", str(folder), "--budget", "5m")
    assert result.exit_code == 0, result.output
    return found[0], result.stdout, folder, fitted


@pytest.fixture(scope="module")
def asked(part: Any, shown: Any) -> list[HeldOut]:
    """Whose lists are counted."""
    catalog, events = part
    met = [one.customer.user_id for one in shown[0].customers]
    others = events.without_users([*met, *shown[3][0].user_ids])
    return demo.hold_out(catalog, others, small.ASKED, small.NEW_FOR)


def printed(result: SmallResult, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(small, "run_small", lambda **_: result)
    answer = run("demo", "--small")
    assert answer.exit_code == 0, answer.output
    return " ".join(answer.stdout.split())


def ids(lines: tuple[Line, ...]) -> list[str]:
    return [line.item_id for line in lines]


def listed(rec: Recommender, events: recllm.Interactions, one: HeldOut) -> list[str]:
    return [row.item_id for row in rec.recommend(one.told(events, demo.GIVEN), n=10)]


# --- what is shown -----------------------------------------------------------------------------------------------


def test_it_reads_from_top_to_bottom(shown: Any) -> None:
    result, text, folder, (rec, _) = shown
    parts = [line for line in text.splitlines() if line.endswith("---")]
    assert [line[:2] for line in parts] == ["1.", "2.", "3.", "4.", "Wh"]
    assert max(len(line) for line in text.splitlines() if str(folder) not in line) <= 100
    words = " ".join(text.split())
    assert result.ranking == rec.report.chosen["ranking"]
    assert result.ranking in words
    for one in result.customers:
        assert f"A new customer, {one.customer.user_id}" in text
        for lines in (one.customer.lists[0].lines, one.shop_only, one.popular):
            for line in lines[:SHOWN]:  # titles are broken where the columns end
                assert set(line.title.split()) <= set(text.split())
    tally = result.tally
    assert (
        f"{tally.with_prior:,} with the shop prior, {tally.shop_only:,} by the ranking that knows this shop only, "
        f"{tally.popular:,} among the most popular" in words
    )
    assert f"--model {folder} " in text


def test_json_has_everything(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small, "run_small", lambda **_: shown[0])
    answer = run("demo", "--small", "--json")
    assert json.loads(answer.stdout) == json.loads(json.dumps(dataclasses.asdict(shown[0])))


@pytest.mark.parametrize(
    ("gain", "interval", "said", "chance"),
    [
        (12, (3.0, 20.0), "12 more than", False),
        (-7, (-20.0, 4.0), "7 fewer than", True),
        (-9, (-20.0, -4.0), "9 fewer than", False),
        (0, (-5.0, 5.0), "as many as", True),
    ],
)
def test_a_prior_that_finds_less_is_told(
    shown: Any, monkeypatch: pytest.MonkeyPatch, gain: int, interval: tuple[float, float], said: str, chance: bool
) -> None:
    tally = dataclasses.replace(shown[0].tally, gain=gain, gain_interval=interval)
    text = printed(dataclasses.replace(shown[0], tally=tally, saved_to=None), monkeypatch)
    assert f"The shop prior finds {said} the ranking that knows this shop only" in text
    assert ("may be chance" in text) is chance
    assert "was not kept" in text


# --- that it is true ---------------------------------------------------------------------------------------------


def test_a_hundred_customers_are_learned_from_whom_nobody_chose(part: Any, shown: Any, asked: list[HeldOut]) -> None:
    catalog, events = part
    result, _, folder, (rec, alone) = shown
    met = demo.hold_out(catalog, events)
    assert [one.customer.user_id for one in result.customers] == [one.user_id for one in met]
    earlier = events.without_users([one.user_id for one in met]).before(END)
    learned = sorted(earlier.user_ids, key=hash_of)[: small.USERS]
    assert set(rec.user_ids) == set(alone.user_ids) == set(learned) == set(Recommender.load(folder).user_ids)
    assert (result.n_users, result.n_events) == (100, len(earlier.of_users(learned)))
    assert len(asked) == result.tally.customers > 5
    assert not set(learned) & {one.user_id for one in (*asked, *met)}
    assert not {one.user_id for one in asked} & {one.user_id for one in met}


def test_the_three_lists_are_what_they_are_called(part: Any, shown: Any) -> None:
    catalog, events = part
    result, _, folder, (rec, alone) = shown
    assert (rec.config.prior, alone.config.prior) == ("shop-prior", None)
    assert Recommender.load(folder).config.prior == "shop-prior"
    popular = most_popular(events, rec)
    for one, held_out in zip(result.customers, demo.hold_out(catalog, events), strict=True):
        (meeting,) = one.customer.lists
        assert ids(meeting.lines) == listed(rec, events, held_out)
        assert ids(one.shop_only) == listed(alone, events, held_out)
        assert ids(one.popular) == [item for item in popular if item not in held_out.given][:10]
        assert [line.score for line in meeting.lines] != [line.score for line in one.shop_only]
        assert all(line.explanation for line in meeting.lines)
        for line in (*meeting.lines, *one.shop_only, *one.popular):
            assert line.bought_too is (line.item_id in held_out.rest)


def test_hits_are_counted_over_all_who_are_asked(part: Any, shown: Any, asked: list[HeldOut]) -> None:
    _, events = part
    tally, (rec, alone) = shown[0].tally, shown[3]
    popular = most_popular(events, rec)
    counts = Counter[str]()
    for one in asked:
        counts["prior"] += len(one.rest.intersection(listed(rec, events, one)))
        counts["shop only"] += len(one.rest.intersection(listed(alone, events, one)))
        counts["popular"] += len(one.rest.intersection([item for item in popular if item not in one.given][:10]))
        counts["bought"] += len(one.rest)
    assert tally.with_prior == counts["prior"]
    assert tally.shop_only == counts["shop only"]
    assert tally.popular == counts["popular"] > 0
    assert tally.bought == counts["bought"]
    low, high = tally.gain_interval
    assert low <= tally.gain == tally.with_prior - tally.shop_only <= high
    assert low < high


def most_popular(events: recllm.Interactions, rec: Recommender) -> list[str]:
    """By customers of the small shop."""
    pairs = events.before(END).of_users(rec.user_ids).frame.select("user_id", "item_id").unique()
    owners = Counter(pairs["item_id"])
    return sorted(owners, key=lambda item: (-owners[item], item))
