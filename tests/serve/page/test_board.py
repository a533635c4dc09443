import dataclasses
import itertools
import re
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from recllm.serve.live.figures import Figures
from recllm.serve.page.board import interval, parts, percent, size, span
from tests.serve.page.figures import FULL, figures, rate
from tests.serve.page.markup import Node, read
from tests.serve.page.shop import ShopLive
from tests.serve.page.test_security import EVIL, check


def board(browser: TestClient) -> Node:
    answer = browser.get("/dashboard")
    assert answer.status_code == 200, answer.text
    return read(answer.text)


def facts(tree: Node) -> dict[str, str]:
    return {node.one("dt").text: node.one("dd").text for dl in tree.all("dl") for node in dl.all("div")}


def part(tree: Node, name: str) -> Node:
    (found,) = [node for node in tree.all("section") if node.get("aria-labelledby") == name]
    return found


def test_without_events_it_says_what_is_missing(browser: TestClient) -> None:
    tree = board(browser)
    assert part(tree, "alive").one("p", "verdict").text == "Yes"
    missing = [node.text for node in tree.all("p", "empty")]
    assert len(missing) == 3 + 1
    assert "No request since the server started." in missing
    assert any("/api/recommend" in text for text in missing)
    assert "/api/feedback" in facts(tree)["Newest event"]
    assert tree.all("table", "bars") == []
    assert not re.search(r"\b(None|nan|inf|0 of 0)\b", tree.text)


def test_figures_have_units_and_what_they_are_based_on(browser: TestClient, live: ShopLive) -> None:
    live.shown = figures(**FULL)
    tree = board(browser)
    told = facts(tree)
    assert told["NDCG of clicked lists"] == "0.431, of 655"
    assert told["Catalog that was listed"] == "41 % of 3,852 items"
    assert told["Lines with an item nobody has"] == "0.3 % of 91,340"
    assert told["Lists for unknown users"] == "22 % of 9,134"
    assert told["Newest event"] == "1 minute old"
    assert told["Last refit here"] == "failed after 5 minutes: the disk is full."
    assert part(tree, "fresh").one("p", "verdict").text == "A refit is due"
    assert "52 % of the events came after the fit" in part(tree, "fresh").text
    assert part(tree, "good").one("p", "verdict").text == "7.2 % of 9,134 lists were clicked"
    assert part(tree, "fell").one("p", "verdict").text == "14 of 9,134 lists"
    rows = [[cell.text for cell in row.all() if cell.tag in ("th", "td")] for row in part(tree, "through").all("tr")]
    assert ["What the same people take", "1.1 %", "", "402 of 38,210"] in rows
    assert ["Place 1", "1.8 %", "", "160 of 9,134"] in rows
    assert len([row for row in rows if row[0].startswith("Place")]) == 10
    assert "and 10 further places" in tree.text
    assert "48.3 MB on the disk" in part(tree, "kept").text
    assert [cell.text for cell in part(tree, "alive").one("table", "bars").all("td", "value")] == [
        "8.4 ms",
        "31 ms",
        "74 ms",
    ]
    assert part(tree, "alive").one("ul", "legend").text == "48,211 answered 37 refused 1 failed"


def test_lists_without_clicks_say_how_clicks_are_counted(browser: TestClient, live: ShopLive) -> None:
    live.shown = figures(**FULL | {"clicks": 0, "live_ndcg": None})
    words = part(board(browser), "good").text
    assert "recommendation_id" in words
    assert "NDCG" not in words
    assert part(board(browser), "through").text == "What is clicked Nothing yet, of 182,680 lines that were shown."


def test_few_lines_do_not_set_the_scale(browser: TestClient, live: ShopLive) -> None:
    rates = {"text": rate(100, 1_000), "history": rate(1, 3), "popularity": rate(0, 2)}
    live.shown = figures(**FULL | {"by_channel": rates})
    bars = part(board(browser), "through").all("svg")[:3]
    widths = [float(svg.all("rect")[1].get("width")[:-1]) for svg in bars]
    assert widths == [30.0, 100.0, 0.0]
    assert all(float(svg.one("line").get("x2")[:-1]) <= 100 for svg in bars)


def test_a_server_that_is_not_ready_says_why(browser: TestClient, live: ShopLive, monkeypatch: Any) -> None:
    monkeypatch.setattr(live, "ready", lambda: (False, "the model is being read."))
    words = part(board(browser), "alive").text
    assert "Not ready" in words
    assert "the model is being read." in words


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_of_a_card_or_a_name_can_run(browser: TestClient, live: ShopLive, evil: str) -> None:
    live.made = f"# {evil}\n| a | b |\n<script>alert(1)</script>"
    named = {"version": evil, "refit_reason": evil, "rows": {evil: 1}, "by_channel": {evil: rate(1, 2)}}
    failed = SimpleNamespace(state="failed", seconds=1.0, said=evil)
    live.shown = figures(**FULL | named | {"lists": {evil: 3}, "refit": failed})
    tree = board(browser)
    check(tree)
    card = tree.one("pre")
    assert card.text.endswith("| a | b | <script>alert(1)</script>")
    assert "\n| a | b |\n" in card.raw


def test_headings_and_tables_are_in_order(browser: TestClient, live: ShopLive) -> None:
    live.shown = figures(**FULL)
    tree = board(browser)
    levels = [int(node.tag[1]) for node in tree.walk() if re.fullmatch(r"h[1-6]", node.tag)]
    assert levels[0] == levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(table.one("caption").text for table in tree.all("table"))
    assert all(svg.get("aria-hidden") == "true" for svg in tree.all("svg"))
    assert all(
        0 <= float(node.get("width")[:-1]) <= 100 for node in tree.all("rect") if node.get("width").endswith("%")
    )


def test_the_figures_are_those_of_the_server() -> None:
    """The page shows what `Figures` has, by its names."""
    assert {field.name for field in dataclasses.fields(Figures)} == set(FULL)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "less than a second"), (1, "1 second"), (59.9, "59 seconds"), (7_199, "1 hour"), (8e7, "2 years")],
)
def test_spans(seconds: float, words: str) -> None:
    assert span(seconds) == words


def test_sizes_and_shares() -> None:
    assert [size(one) for one in (0, 999, 1_000, 48_300_112, 123_456_789_000)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "48.3 MB",
        "123 GB",
    ]
    assert [percent(one) for one in (0, 0.004, 0.0961, 0.41, 1)] == ["0 %", "0.4 %", "9.6 %", "41 %", "100 %"]


def test_an_interval_holds_the_share_and_shrinks() -> None:
    for hits, of in ((0, 5), (5, 5), (3, 10), (300, 1_000)):
        low, high = interval(hits, of)
        assert 0 <= low <= hits / of <= high <= 1
    assert interval(3, 10)[1] - interval(3, 10)[0] > interval(300, 1_000)[1] - interval(300, 1_000)[0]
    # Wilson's interval for 3 of 10, from R's prop.test(3, 10, correct = FALSE).
    assert interval(3, 10) == pytest.approx((0.1078, 0.6032), abs=1e-4)


def test_parts_fill_the_bar_and_what_is_rare_is_seen() -> None:
    made = parts({"5xx": 1, "2xx": 100_000, "odd": 0}, {"2xx": "answered", "5xx": "failed"})
    assert [one.name for one in made] == ["answered", "failed"]
    assert made[0].start == 0
    assert made[-1].start + made[-1].width == pytest.approx(100, abs=0.02)
    assert made[1].width > 0.5
    assert parts({}, {}) == []
