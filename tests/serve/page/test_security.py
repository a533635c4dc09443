"""Titles, ids and queries are text: nothing of them can run, wherever they stand."""

from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from recllm.serve.page.render import HEADERS
from recllm.serve.state.records import ItemRecord
from recllm.serve.web.app import create_app
from recllm.serve.web.keys import Keys, Role, new_key
from tests.serve.page.markup import Node, read
from tests.serve.page.shop import ShopLive, browser_of

EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    '</title></textarea></style><hx-partial hx-target="#list">',
    "<!-- --> <![CDATA[ ]]> &lt;b&gt; &#60;",
    'js:alert(1)" hx-on:click="alert(1)',
    "\u202egnp.exe \x00\x1b[2J",
]


def check(tree: Node) -> None:
    """Nothing in it runs but our two files, and no address leads elsewhere."""
    ours = []
    for node in tree.walk():
        assert node.tag not in ("style", "iframe", "object", "embed", "img", "base", "template"), node.tag
        if node.tag == "script":
            ours.append(node.get("src").split("?")[0])
            assert node.text == ""
        for name, value in node.attributes.items():
            assert not name.startswith(("on", "hx-on", "data-hx", "hx-vals", "hx-headers", "hx-confirm")), name
            assert name not in ("style", "srcdoc", "formaction"), name
            if name in ("href", "src", "action", "hx-get"):
                assert (value or "").startswith(("/", "#main")), value
                assert not (value or "").startswith("//"), value
            if name == "hx-trigger":
                assert value in ("load", "input changed delay:300ms", "every 30s")
    assert ours in (["/static/htmx.min.js", "/static/page.js"], [])


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_executable_comes_out(evil: str) -> None:
    live = ShopLive()
    live.records = {
        evil: ItemRecord(evil, {"title": evil, "categories": [evil]}),
        evil + "2": ItemRecord(evil + "2", {"title": evil, "categories": [evil]}),
        evil + "3": ItemRecord(evil + "3", {"title": evil, "categories": evil}),
    }
    live.remember(evil, evil)
    browser = browser_of(live)
    state = [("have", evil), ("have", evil + "3"), ("without", evil), ("q", evil), ("why", evil + "2"), ("was", evil)]
    for address, query in [
        ("/", state),
        ("/", [("have", evil), ("why", evil + "2")]),
        ("/reasons", [("have", evil), ("item", evil + "2"), ("item", evil)]),
    ]:
        answer = browser.get(address, params=query)
        assert answer.status_code == 200
        tree = read(answer.text)
        check(tree)
        for link in tree.all("a"):
            if not link.get("href").startswith("#"):
                check(read(browser.get(link.get("href")).text))
    check(read(browser.get("/user/" + quote(evil, safe="")).text))
    check(read(browser.get("/user/" + quote(evil + " nobody", safe="")).text))


def test_a_title_is_shown_as_it_stands() -> None:
    live = ShopLive()
    live.rename("lamp", EVIL[1])
    tree = read(browser_of(live).get("/").text)
    assert EVIL[1] in [node.text for node in tree.all("h3")]
    # Characters that hide or turn text around are taken out.
    live.rename("lamp", EVIL[-1])
    tree = read(browser_of(live).get("/").text)
    assert "gnp.exe [2J" in [node.text for node in tree.all("h3")]


@pytest.mark.parametrize("address", ["/", "/?have=spade&why=hose", "/reasons?have=spade&item=hose", "/user/nobody"])
def test_every_page_says_what_may_run(browser: TestClient, address: str) -> None:
    answer = browser.get(address)
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert "set-cookie" not in answer.headers


def test_the_whole_server_says_the_same(live: ShopLive) -> None:
    """Its own headers give way to those of the page, and who may see what is asked first."""
    browser = TestClient(create_app(live), "http://127.0.0.1", headers={"accept": "text/html"})
    answer = browser.get("/?have=spade")
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert browser.get("/static/page.css").status_code == browser.get("/dashboard").status_code == 200
    _, reader = new_key("somebody", Role.READ)
    strict = TestClient(create_app(live, Keys([reader])), "http://127.0.0.1", headers={"accept": "text/html"})
    for address in ("/", "/reasons?have=spade&item=hose", "/user/mia", "/dashboard"):
        assert strict.get(address, follow_redirects=False).headers["location"].startswith("/login")
    assert strict.get("/static/page.css").status_code == 200
    secret, reader = new_key("somebody", Role.READ)
    strict = TestClient(create_app(live, Keys([reader])), "http://127.0.0.1", headers={"x-api-key": secret})
    assert [strict.get(address).status_code for address in ("/", "/dashboard")] == [200, 403]


def test_nothing_is_written(browser: TestClient, live: ShopLive) -> None:
    browser.get("/?have=spade&have=bear&without=bear&q=garden&why=hose")
    assert not {"feedback", "put_items", "put_users", "erase", "refit"} & set(live.calls)
    assert live.store.facts == {}


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_pages_are_only_read(browser: TestClient, method: str) -> None:
    assert getattr(browser, method)("/").status_code == 405
