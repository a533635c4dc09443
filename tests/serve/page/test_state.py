from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from recllm.serve.page.state import LONGEST_ID, MOST_PICKS, Visit, fresh, marks

ODD = ["a/b", "100% 🧁", "a&have=b", "#x", "?", "+ +", '"><script>', "javascript:alert(1)", "ä\u0301", "..", "%2F"]


def of(address: str) -> Visit:
    return Visit.read("/", QueryParams(urlsplit(address).query))


@pytest.mark.parametrize("item", ODD)
def test_any_id_survives_the_address(item: str) -> None:
    picked = of(Visit("/").pick(item, ""))
    assert picked.have == (item,)
    assert of(picked.strike([item], "")).without == (item,)
    assert of(picked.open(item)).why == item
    assert of(picked.search(item)).q == item


@given(st.text(max_size=1_100), st.text(max_size=300))
def test_whatever_an_address_holds_can_be_linked_to(item: str, words: str) -> None:
    visit = Visit.read(
        "/", QueryParams([("have", item), ("without", item), ("q", words), ("why", item), ("was", words)])
    )
    address = visit.pick("lamp", "")
    assert address.isascii()
    assert address.startswith("/?")
    assert len(of(address).q) <= 200


def test_a_click_changes_one_thing() -> None:
    visit = Visit("/", have=("a", "b"), without=("a",), q="lamp", why="c", was="1234")
    assert of(visit.pick("c", "5678")) == Visit("/", ("a", "b", "c"), ("a",), "lamp", None, "5678")
    assert of(visit.drop("a", "5678")) == Visit("/", ("b",), (), "lamp", None, "5678")
    assert of(visit.strike(["b"], "5678")) == Visit("/", ("a", "b"), ("a", "b"), "lamp", None, "5678")
    assert of(visit.restore("a", "5678")) == Visit("/", ("a", "b"), (), "lamp", None, "5678")
    # What is new since the last click stays new while one reads and searches.
    assert of(visit.open("d")) == Visit("/", ("a", "b"), ("a",), "lamp", "d", "1234")
    assert of(visit.search("")) == Visit("/", ("a", "b"), ("a",), "", "c", "1234")
    assert visit.empty() == "/"


def test_the_address_keeps_the_newest_picks() -> None:
    visit = of("/?" + "&".join(f"have=r{number}" for number in range(70)))
    assert visit.have == tuple(f"r{number}" for number in range(70 - MOST_PICKS, 70))
    assert visit.cut == 20
    assert len(of(visit.pick("one more", "")).have) == MOST_PICKS


def test_the_address_stays_short_whatever_the_ids() -> None:
    long = [f"{number}" + "é" * (LONGEST_ID - 3) for number in range(50)]
    visit = Visit.read("/", QueryParams([*(("have", item) for item in long), ("have", "lamp"), ("q", "ü" * 10_000)]))
    assert visit.have == ("lamp",)
    assert visit.cut == 50
    short = [f"{number:03}" + "x" * 60 for number in range(200)]
    visit = Visit.read("/", QueryParams([(name, item) for item in short for name in ("have", "without")]))
    assert len(visit.pick("lamp", marks(map(str, range(10))))) < 8_000


def test_an_id_too_long_is_none() -> None:
    visit = Visit.read("/", QueryParams([("have", "x" * (LONGEST_ID + 1)), ("have", ""), ("why", "x" * 5_000)]))
    assert visit == Visit("/")


def test_what_is_gone_from_the_catalog_is_gone_from_the_picks() -> None:
    visit = Visit("/", have=("a", "b", "c"), without=("b", "z"))
    assert visit.known({"a": "A", "c": "C"}) == Visit("/", have=("a", "c"))
    assert visit.known("abc").counting == ("a", "c")


def test_marks_tell_what_is_new() -> None:
    before = [f"r{number}" for number in range(10)]
    after = ["r3", "lamp", "r9", "🧁"]
    assert fresh(after, marks(before)) == {"lamp", "🧁"}
    assert fresh(after, None) == frozenset()
    assert fresh(after, marks([])) == frozenset()
    assert len(marks(before)) == 40


@pytest.mark.parametrize("was", ["abc", "x" * 404, "<script>"])
def test_marks_that_are_none(was: str) -> None:
    visit = Visit.read("/", QueryParams([("was", was)]))
    assert visit.was in (None, was)
    assert visit.was is None or len(was) % 4 == 0


def test_a_name_for_the_same_picks() -> None:
    visit = Visit("/", have=("a", "b"))
    assert visit.name == Visit("/", have=("a", "b"), q="x", why="a", was="1234").name
    others = [Visit("/", ("b", "a")), Visit("/", ("a", "b"), ("a",)), Visit("/user/x", ("a", "b"))]
    assert visit.name not in {other.name for other in others}
