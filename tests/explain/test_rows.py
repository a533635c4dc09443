"""Rows of reasons in which anything was changed: no leaf passes, unless the verdict names it as not covered."""

import copy
import json
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from recllm.errors import DataError, RecllmError
from recllm.explain.proof import RELATIVE, seal_of
from recllm.explain.reasons import Reasons
from recllm.prompting.generator import CannedGenerator
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.small import newcomer


def parsed(result: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(result.to_json())
    return rows


@pytest.fixture(scope="module")
def rows(fitted: Recommender, user: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
    """One row of each sort."""
    listed = parsed(fitted.recommend(user, n=6, explain=True))
    told = parsed(fitted.explain(user, [row["item_id"] for row in listed] + [user["x"][0]], n=6))
    history = next(row for row in told if row["evidence"]["counterfactual"])
    asked = {"wishes": ["more of garden (4)"], "without": ["i0"], "filters": {"categories": ["garden", "books"]}}
    cited = history["evidence"]["causes"][0]["title"]
    text = f"Because of “{cited}” in your history."
    return {
        "line": listed[0],
        "history": history,
        "weak": next((row for row in told if row["reason_code"] in ("weak", "popular")), told[-2]),
        "owned": told[-1],
        "cold_start": parsed(fitted.recommend({"nobody": []}, n=2, explain=True))[1],
        "asked": next(
            row for row in parsed(fitted.recommend(user, n=4, explain=True, **asked)) if row["reason_code"] == "asked"
        ),
        "varied": parsed(
            fitted.recommend(user, n=4, explain=True, diversity=0.4, candidates=[f"i{n}" for n in range(6, 40)])
        )[2],
        "L2": parsed(fitted.explain(user, [history["item_id"]], n=6, level="L2"))[0],
        "L3": parsed(fitted.explain(user, [history["item_id"]], CannedGenerator([text]), n=6))[0],
        "fallback": parsed(fitted.explain(user, [history["item_id"]], CannedGenerator(["The best."] * 2), n=6))[0],
    }


SORTS = ("line", "history", "weak", "owned", "cold_start", "asked", "varied", "L2", "L3", "fallback")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of everything in a row, containers included."""
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield from leaves(item, (*path, key))


def at(row: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        row = row[key]
    return row


def forgeries(row: dict[str, Any], path: tuple[Any, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The row with one place changed, taken away, added to or reordered."""

    def changed(how: Callable[[Any, Any], None]) -> dict[str, Any]:
        other = copy.deepcopy(row)
        how(at(other, path[:-1]), path[-1])
        return other

    old = at(row, path)
    news: list[Any]
    match old:
        case bool():
            news = [not old, None, int(old)]
        case int() | float():
            news = [old + 1, -old - 3, str(old), None, float("nan"), old * (1 + 5 * RELATIVE) + 0.01]
        case str():
            news = [old + "x", "", "i9" if old != "i9" else "i8", None, 3]
        case None:
            news = ["x", 0, False, []]
        case list():
            news = [[*old, *(old[-1:] or ["x"])], None, old[1:] if old else ["x"], old[::-1]]
        case _:
            news = [{**old, "praise": "best"}, None, []]
    for new in news:
        if new != old or type(new) is not type(old):
            yield f"{old!r:.40} -> {new!r:.40}", changed(lambda place, key, new=new: place.__setitem__(key, new))
    yield "taken away", changed(lambda place, key: place.__delitem__(key))


def passes(rec: Recommender, row: dict[str, Any], path: tuple[Any, ...]) -> bool:
    """Whether a forgery goes through unnamed."""
    try:
        verdict = rec.verify_explanation(row)
    except RecllmError:
        return False
    return verdict.passed and ".".join(map(str, path)) not in verdict.uncovered


@pytest.mark.parametrize("changes", [12, pytest.param(250, marks=pytest.mark.slow)])
@pytest.mark.parametrize("sort", SORTS)
def test_no_leaf_can_be_changed(fitted: Recommender, rows: dict[str, dict[str, Any]], sort: str, changes: int) -> None:
    row, rng = rows[sort], np.random.default_rng(SORTS.index(sort))
    assert fitted.verify_explanation(row).passed, str(fitted.verify_explanation(row))
    tried = [(path, name, forged) for path in leaves(row) for name, forged in forgeries(row, path)]
    some = [tried[n] for n in rng.choice(len(tried), min(changes, len(tried)), replace=False)]
    fields = [one for one in tried if len(one[0]) == 1]
    first = {one[0]: one for one in reversed(fields)}  # a changed value of each
    some += fields if changes > 12 else first.values()
    through = [(path, name) for path, name, forged in some if passes(fitted, forged, path)]
    assert not through


RECOMPUTED = [
    *[("line", (name,)) for name in ("user_id", "item_id", "rank", "score", "title", "explanation", "reason_code")],
    ("history", ("method",)), ("history", ("verified",)), ("history", ("fallback",)), ("history", ("share",)),
    ("history", ("prompt",)), ("history", ("evidence", "place")), ("history", ("evidence", "place_without_history")),
    ("history", ("evidence", "popular")), ("history", ("evidence", "wording", "method")),
    ("history", ("evidence", "wording", "generator")), ("history", ("evidence", "wording", "share")),
    ("history", ("evidence", "wording", "prompt")), ("history", ("evidence", "wording", "verified")),
    ("history", ("evidence", "counterfactual", "instead_title")), ("history", ("evidence", "causes", 0, "share")),
    ("L3", ("evidence", "wording", "method")), ("L3", ("evidence", "wording", "prompt")), ("L3", ("method",)),
    ("L3", ("evidence", "wording", "share")), ("L3", ("evidence", "wording", "verified")), ("L3", ("explanation",)),
    ("fallback", ("evidence", "wording", "method")), ("varied", ("rank",)), ("asked", ("evidence", "wishes", 0)),
]  # fmt: skip


@pytest.mark.parametrize(("sort", "path"), RECOMPUTED)
def test_who_seals_it_again_is_found_out(
    fitted: Recommender, rows: dict[str, dict[str, Any]], sort: str, path: tuple[Any, ...]
) -> None:
    """The seal has no key, so that anybody can renew it: what can be computed is."""
    for name, forged in forgeries(rows[sort], path):
        if path[-1] in forged and isinstance(forged.get("proof"), dict):
            forged["proof"]["seal"] = seal_of(forged)
        assert not passes(fitted, forged, path), name


@pytest.mark.parametrize(("sort", "name"), [("L3", "generator"), ("fallback", "fallback")])
def test_what_cannot_be_computed_is_named(
    fitted: Recommender, rows: dict[str, dict[str, Any]], sort: str, name: str
) -> None:
    verdict = fitted.verify_explanation(rows[sort])
    assert verdict.passed
    assert f"evidence.wording.{name}" in verdict.uncovered
    assert f"not computed again: evidence.wording.{name}" in str(verdict)
    assert fitted.verify_explanation(rows["history"]).uncovered == ()


def test_ready_made_adapters_that_know_something_else(fitted: Recommender, user: dict[str, list[str]]) -> None:
    """Nobody can compute their scores from the history: said, not passed over."""
    same, another = fitted.adapt(user), fitted.adapt({"x": ["i24", "i25", "i26", "i27", "i28"]})
    (first, *_) = fitted.recommend(user, n=2, adapters=same, explain=True)
    assert (fitted.verify_explanation(first).passed, fitted.verify_explanation(first).uncovered) == (True, ())
    (other, *_) = fitted.recommend(user, n=2, adapters=another, explain=True)
    verdict = fitted.verify_explanation(other)
    assert verdict.passed
    assert verdict.uncovered in ((), ("rank", "score"))
    assert (verdict.uncovered == ()) == other.proof["remade"]  # type: ignore[index]


def verdict_of(rec: Recommender, row: dict[str, Any]) -> str:
    """In words; what is refused is refused in one line."""
    try:
        return str(rec.verify_explanation(row))
    except DataError as error:
        return str(error).replace("\n", " PASS ")


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


HOSTILE: dict[str, Any] = {
    "deep": nested(100_000),
    "long": [0] * 10**6,
    "nan": float("nan"),
    "digits": 10**5000,
    "half a letter": "\ud800",
    "table": {"a": {"b": {}}},
    "text": "x" * 10**6,
    "bytes": b"\xff",
}
PLACES = [("score",), ("evidence", "causes"), ("proof", "history"), ("proof", "seal"), ("title",)]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("path", PLACES)
def test_hostile_rows_get_one_sentence(
    fitted: Recommender, rows: dict[str, dict[str, Any]], path: tuple[str, ...], name: str
) -> None:
    forged = {**rows["line"], "evidence": dict(rows["line"]["evidence"]), "proof": dict(rows["line"]["proof"])}
    at(forged, path[:-1])[path[-1]] = HOSTILE[name]
    said = verdict_of(fitted, forged)
    assert "PASS" not in said
    assert len(said) < 3000


# -- places -----------------------------------------------------------------------------------------------------------


def test_a_place_is_that_in_the_whole_list(fitted: Recommender, shop: ToyShop) -> None:
    """Also for what no channel would bring, with and without the history."""
    size, rng = len(shop.catalog), np.random.default_rng(0)
    for _ in range(6):
        history = [f"i{row}" for row in rng.choice(size, size=int(rng.integers(1, 7)), replace=False)]
        asked = [f"i{row}" for row in rng.choice(size, size=5, replace=False)]
        options: dict[str, Any] = {"wishes": ["never of toys"]} if rng.random() < 0.5 else {}
        whole = [row.item_id for row in fitted.recommend({"x": history}, n=size, **options)]
        bare = [row.item_id for row in fitted.recommend({"x": history}, n=size, without=history, **options)]
        for row in fitted.explain({"x": history}, asked, n=3, **options):
            places = (row.evidence["place"], row.evidence["place_without_history"])
            if row.item_id in whole:
                assert places == (whole.index(row.item_id) + 1, bare.index(row.item_id) + 1)
            else:
                assert places == (None, None)


def test_what_the_user_has_is_no_guess(fitted: Recommender, user: dict[str, list[str]]) -> None:
    for level in ("L0", "L2"):
        for row in fitted.explain(user, user["x"], level=level):
            assert row.reason_code == "owned"
            assert row.explanation.startswith(("You have this already", "You already have this"))
            assert row.item_id not in [cause["item_id"] for cause in row.evidence["causes"]]
            assert row.verified
            assert fitted.verify_explanation(row).passed, str(fitted.verify_explanation(row))
    told = fitted.explain(user, user["x"])
    assert any("It goes with" in row.explanation for row in told)
    (left_out,) = fitted.explain(user, user["x"][:1], without=user["x"])
    assert left_out.explanation == "You have this already; nothing else in your history stands out as the cause."


# -- threads and the clock --------------------------------------------------------------------------------------------


def test_threads_explain_as_one_does(fitted: Recommender, shop: ToyShop) -> None:
    """Also while nothing has been looked up yet."""
    users = [{"x": [f"i{row}", f"i{row + 2}", f"i{(row * 7) % 48}"]} for row in range(24)]

    def ask(one: dict[str, list[str]]) -> str:
        return fitted.recommend(one, n=3, explain=True).to_json()

    one_by_one = [ask(one) for one in users]
    state = fitted._state
    assert state is not None
    state._looked_up.clear()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, users)) == one_by_one
    assert isinstance(Reasons.by(state), Reasons)


def test_the_clock_stands_still_while_items_are_left_out(fitted: Recommender, shop: ToyShop) -> None:
    """A contribution is what the score loses and gains at one and the same moment, also where the newest event goes."""
    end = fitted.model.channels.trend.end
    step = fitted.model.channels.trend.half_life
    items = newcomer(shop, 1)
    late = {"x": [{"item_id": item, "timestamp": end + step * (1 + at)} for at, item in enumerate(items)]}
    size = len(shop.catalog)
    rows = list(fitted.recommend(late, n=size, explain=True))

    def scores(*left_out: str) -> dict[str, float]:
        return {row.item_id: row.score for row in fitted.recommend(late, n=size, without=left_out)}

    nothing = scores(*items)
    without = {item: scores(item) for item in items}
    alone = {item: scores(*(other for other in items if other != item)) for item in items}
    checked = 0
    for row in rows:
        assert row.evidence is not None
        for cause in row.evidence["causes"]:
            lost = row.score - without[cause["item_id"]][row.item_id]
            came = alone[cause["item_id"]][row.item_id] - nothing[row.item_id]
            assert cause["contribution"] == pytest.approx((lost + came) / 2, abs=1e-4)
            checked += cause["item_id"] == items[-1]
    assert checked


def test_the_clock_moves_with_time(fitted: Recommender, shop: ToyShop) -> None:
    """Or the test above could not fail: the same events at another time are served otherwise."""
    end, step = fitted.model.channels.trend.end, fitted.model.channels.trend.half_life
    early, late = (
        fitted.score({"x": [{"item_id": "i1", "timestamp": end + moved}]}, list(shop.catalog.item_ids))
        for moved in (0, 3 * step)
    )
    assert np.abs(early - late).max() > 1e-3


def test_verifying_warns_of_nothing(fitted: Recommender, user: dict[str, list[str]]) -> None:
    with pytest.warns(UserWarning, match="'cars'"):
        (row, *_) = fitted.recommend(user, n=2, without=["cars", "i0"], explain=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fitted.verify_explanation(row).passed
