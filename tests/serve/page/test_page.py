"""The page as a browser without JavaScript gets it: plain links and a form."""

import dataclasses
import itertools
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from recllm.errors import BusyError, DataError
from recllm.serve.page.routes import router
from recllm.serve.page.state import MOST_PICKS
from tests.serve.page.markup import Node, read
from tests.serve.page.shop import ShopLive


def page(browser: TestClient, address: str = "/", status: int = 200) -> Node:
    answer = browser.get(address)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return read(answer.text)


def titles(tree: Node, section: str = "list") -> list[str]:
    return [node.text.removesuffix(" New") for node in tree.one("section", section).all("h3")]


def follow(browser: TestClient, tree: Node, words: str) -> Node:
    """Click the one link with these words."""
    links = [node for node in tree.all("a") if node.text == words]
    assert len(links) == 1, [node.text for node in tree.all("a")]
    return page(browser, links[0].get("href"))


def test_a_first_visit_shows_what_is_popular_and_a_search(browser: TestClient) -> None:
    tree = page(browser)
    assert tree.one("section", "list").one("h2").text == "Popular right now"
    assert len(titles(tree)) == 10
    assert "each pick" in tree.one("p", "lead").text.casefold()
    assert tree.named("q").tag == "input"
    assert tree.all("section", "picks") == []
    assert tree.all("span", "badge") == []


def test_before_there_are_events_nothing_is_called_popular(
    browser: TestClient, live: ShopLive, monkeypatch: Any
) -> None:
    monkeypatch.setattr(live, "first", "history")
    section = page(browser).one("section", "list")
    assert section.one("h2").text == "A place to start"
    assert section.one("p", "news").text == "10 items to begin with. Pick one, and the list is yours."


def test_a_pick_changes_the_list_at_once(browser: TestClient) -> None:
    tree = follow(browser, page(browser), "Pick Steel spade")
    assert titles(tree)[:2] == ["Tomato seeds", "Garden hose"]
    assert tree.one("section", "list").one("h2").text == "Recommended for you"
    assert tree.named("news").text == "10 items, from 1 pick; 1 is new since your last click."
    assert [node.text for node in tree.all("span", "badge")] == ["New"]
    tree = follow(browser, tree, "×Remove Steel spade")
    assert tree.one("section", "list").one("h2").text == "Popular right now"


def test_why_opens_and_a_cause_is_struck_out(browser: TestClient) -> None:
    tree = page(browser, "/?have=spade&have=seeds")
    assert tree.all("div", "panel") == []
    tree = follow(browser, tree, "Why? Garden hose")
    panel = tree.one("div", "panel")
    assert panel.one("p", "words").text == "Because you have Steel spade, Tomato seeds."
    assert [node.text for node in panel.all("span", "share")] == ["50 %", "50 %"]
    facts = [(node.one("dt").text, node.one("dd").text) for node in panel.one("dl").all("div")]
    assert facts == [
        ("Without them", "“Brown bear” would be in the list instead"),
        ("Its place", "2 now, 1,234 without any of your picks"),
    ]
    closed = follow(browser, tree, "Close Garden hose")
    assert closed.all("div", "panel") == []
    tree = follow(browser, tree, "Not because of this (Steel spade)")
    assert tree.named("news").text.startswith("10 items, from 1 of 2 picks")
    tree = follow(browser, tree, "Tomato seeds, counts; leave it out")
    assert tree.one("section", "list").one("h2").text == "Popular right now"
    assert titles(tree)[:3] == ["Warm lamp", "Pillar candle", "Linen cushion"]
    assert "Steel spade" not in titles(tree)
    tree = follow(browser, tree, "Tomato seeds, left out; count it again")
    assert titles(tree)[0] == "Garden hose"


def test_editions_of_a_cause_go_with_it(browser: TestClient, live: ShopLive, monkeypatch: Any) -> None:
    row = live._row

    def with_editions(item_id: str, have: Any) -> dict[str, Any]:
        made = row(item_id, have)
        for cause in made["evidence"]["causes"]:
            cause["editions"] = ["seeds"]
        return made

    monkeypatch.setattr(live, "_row", with_editions)
    tree = page(browser, "/?have=seeds&have=spade&why=hose")
    strike = next(node for node in tree.all("a", "strike") if "spade" in node.text)
    tree = page(browser, strike.get("href"))
    assert len(tree.all("li", "out")) == 2


def test_a_search_finds_and_keeps_the_picks(browser: TestClient) -> None:
    tree = page(browser, "/?have=spade&without=spade&was=aaaa")
    form = tree.one("form")
    assert (form.get("action"), form.get("method")) == ("/", "get")
    fields = [(node.get("name"), node.get("value")) for node in form.all("input") if node.get("type") == "hidden"]
    assert fields == [("have", "spade"), ("without", "spade"), ("was", "aaaa")]
    tree = page(browser, "/?have=spade&q=garden+lamp")
    assert tree.named("found").text == "Found for “garden lamp”"
    assert titles(tree, "found") == ["Warm lamp", "Garden hose"]
    assert tree.named("q").get("value") == "garden lamp"
    tree = page(browser, tree.one("section", "found").all("a", "add")[0].get("href"))
    assert [node.text for node in tree.one("section", "found").all("a", "picked")] == ["Picked, remove Warm lamp"]
    tree = follow(browser, tree, "Close the search")
    assert tree.all("section", "found") == []
    assert len(tree.all("li", "chip")) == 2


def test_a_search_that_finds_nothing_says_so(browser: TestClient) -> None:
    tree = page(browser, "/?q=zzz")
    assert "Nothing in the catalog comes close" in tree.one("section", "found").text
    assert len(titles(tree)) == 10


def test_what_is_only_close_in_meaning_is_called_so(browser: TestClient, live: ShopLive, monkeypatch: Any) -> None:
    async def by_meaning(text: str, n: int) -> Any:
        return live._lines(["bear", "kite"][:n])

    monkeypatch.setattr(live, "search", by_meaning)
    tree = page(browser, "/?q=presents for children")
    assert tree.named("found").text == "Closest in meaning to “presents for children”"
    assert "No title has these words" in tree.one("section", "found").text


def test_titles_with_the_words_come_first(browser: TestClient, live: ShopLive, monkeypatch: Any) -> None:
    async def by_meaning(text: str, n: int) -> Any:
        return live._lines(["bear", "kite", "spade", "hose", "lamp", "mug", "seeds"][:n])

    monkeypatch.setattr(live, "search", by_meaning)
    tree = page(browser, "/?q=garden spa")
    assert titles(tree, "found") == [
        "Steel spade",
        "Garden hose",
        "Brown bear",
        "Red kite",
        "Warm lamp",
        "Blue <b>mug</b> & saucer",
    ]


def test_too_many_picks_count_with_the_newest(browser: TestClient) -> None:
    address = "/?" + "&".join(f"have=gone{number}" for number in range(MOST_PICKS + 5)) + "&have=spade"
    tree = page(browser, address)
    notes = [node.text for node in tree.all("p", "note")]
    assert any("6 older ones are left out" in note for note in notes), notes
    assert any("49 picks are not in the catalog" in note for note in notes), notes
    assert len(tree.all("li", "chip")) == 1


def test_reasons_come_after_the_list(browser: TestClient, live: ShopLive) -> None:
    tree = page(browser, "/?have=spade")
    assert live.calls["explain_session"] == 0
    loader = tree.one("div", "loader")
    assert loader.get("hx-trigger") == "load"
    parts = page(browser, loader.get("hx-get")).all("hx-partial")
    assert live.calls["explain_session"] == 1
    places = {f"#{node.get('id')}" for node in tree.all("p", "reason")}
    assert {node.get("hx-target") for node in parts} == places
    assert parts[0].text == "Because of “Steel spade”"
    assert parts[-1].text == "Popular with everyone"
    # Nothing to be said, so nothing is asked.
    assert page(browser, "/").all("div", "loader") == []
    assert page(browser, "/?have=spade&without=spade").all("div", "loader") == []


def test_only_the_open_reason_is_computed_for_the_page(browser: TestClient, live: ShopLive) -> None:
    page(browser, "/?have=spade&why=hose")
    assert live.calls["explain_session"] == 1
    page(browser, "/?have=spade&why=spade")  # which is no line of the list
    assert live.calls["explain_session"] == 1


def test_a_known_user_has_the_same_page(browser: TestClient, live: ShopLive) -> None:
    live.remember("mia/ü", "lamp", "spade", "seeds")
    tree = page(browser, "/user/mia%2F%C3%BC")
    assert tree.one("h1").text == "For mia/ü"
    assert tree.all("li", "chip")[0].text == "Tomato seeds, counts; leave it out"
    assert titles(tree)[0] == "Garden hose"
    assert tree.all("p", "reason")[0].text == "Because of “Steel spade” and 1 more"
    assert tree.all("a", "add") == []
    assert tree.all("form") == []
    tree = follow(browser, tree, "Why? Garden hose")
    tree = follow(browser, tree, "Not because of this (Steel spade)")
    assert len(tree.all("li", "out")) == 1
    assert live.calls["feedback"] == 0


def test_a_long_history_shows_its_newest(browser: TestClient, live: ShopLive, monkeypatch: Any) -> None:
    monkeypatch.setattr("recllm.serve.page.shop.NEWEST", 2)
    live.remember("mia", "lamp", "spade", "seeds")
    assert "and 1 older" in page(browser, "/user/mia").one("section", "picks").text


def test_errors_are_pages_with_a_way_back(browser: TestClient, live: ShopLive) -> None:
    tree = page(browser, "/user/nobody", 404)
    assert tree.named("main").one("h1").text == "Not found"
    assert "nobody" in tree.one("p", "lead").text
    assert tree.one("a", "button").get("href") == "/"
    live.fault = BusyError("The server is busy; ask again in a moment.")
    answer = browser.get("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    # What htmx puts in place of the list, as it does with 4xx and 5xx since version 4.
    assert "busy" in read(answer.text).named("main").text
    live.fault = DataError("no <b>such</b> thing.")
    assert "No <b>such</b> thing." in page(browser, "/", 422).named("main").text
    live.fault = ZeroDivisionError("a secret path")
    assert "secret" not in page(browser, "/", 500).text
    live.fault = None
    assert "nothing at '/elsewhere'" in page(browser, "/elsewhere", 404).text


def test_an_answer_that_is_no_ranking_says_so(browser: TestClient, live: ShopLive) -> None:
    live.settings = dataclasses.replace(live.settings, log_only=True)
    assert "while it learns" in page(browser).one("p", "note").text


def test_the_basics_that_a_screen_reader_needs(browser: TestClient, live: ShopLive) -> None:
    live.remember("mia", "spade")
    addresses = ["/", "/?have=spade&have=bear&without=bear&q=garden&why=hose", "/?q=zzz", "/user/mia"]
    for tree in [*(page(browser, address) for address in addresses), page(browser, "/user/nobody", 404)]:
        assert tree.one("html").get("lang") == "en"
        assert len(tree.all("h1")) == len(tree.all("main")) == 1
        assert tree.one("title").text.endswith("· recllm")
        levels = [int(node.tag[1]) for node in tree.walk() if node.tag in ("h1", "h2", "h3", "h4")]
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels
        names = [node.get("id") for node in tree.walk() if node.get("id")]
        assert len(names) == len(set(names))
        labels = {node.get("for") for node in tree.all("label")}
        assert all(node.get("id") in labels for node in tree.all("input") if node.get("type") != "hidden")
        assert all(node.text for node in [*tree.all("a"), *tree.all("button")])
        assert all(node.get("aria-labelledby") in names for node in tree.all("section") if node.get("aria-labelledby"))
        assert tree.one("a", "skip").get("href") == "#main"
    assert page(browser).named("news").get("role") == "status"


def test_lists_that_are_mounted_below_link_below(live: ShopLive) -> None:
    outer, inner = FastAPI(), FastAPI()
    inner.include_router(router(live))
    outer.mount("/shop", inner)
    tree = page(TestClient(outer), "/shop/?have=spade")
    inside = [node.get(name) for node in tree.walk() for name in ("href", "src", "action", "hx-get") if node.get(name)]
    assert all(address.startswith(("/shop/", "#main")) for address in inside), inside
    assert page(TestClient(outer), tree.all("a", "add")[0].get("href")).all("li", "chip")
