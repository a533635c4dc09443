import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from recllm.errors import (
    ArtifactError,
    BusyError,
    ConfigError,
    ConflictError,
    DataError,
    ServeError,
    StorageError,
    UnknownError,
)
from tests.serve.web.asking import Shop, open_shop, problem


@pytest.fixture(scope="module")
def opened() -> Iterator[Shop]:
    with open_shop() as shop:
        yield shop


@pytest.fixture
def shop(opened: Shop) -> Shop:
    """The same app over an engine that is as new."""
    vars(opened.live).clear()
    opened.live.__init__()  # type: ignore[misc]
    return opened


def event(**more: Any) -> dict[str, Any]:
    return {"user_id": "mia", "item_id": "spade"} | more


def listed(shop: Shop, user: str = "mia", query: str = "n=12") -> list[str]:
    answer = shop.get(f"/api/recommend/{quote(user, safe='')}?{query}")
    assert answer.status_code == 200, answer.text
    return [line["item_id"] for line in answer.json()["items"]]


# --- lists -----------------------------------------------------------------------------------------------------------


def test_an_event_is_in_the_next_answer(shop: Shop) -> None:
    assert listed(shop)[0] == "lamp"
    taken = shop.http.post("/api/feedback", json=[event()])
    assert taken.json() == {"accepted": 1, "known": 0, "replaced": 0, "waiting": 0, "as_of_event": 1}
    after = listed(shop)
    assert after[0] == "seeds"
    assert "spade" not in after
    assert "spade" in listed(shop, query="n=12&include_seen=true")


def test_a_list_says_what_it_is(shop: Shop) -> None:
    shop.http.post("/api/feedback", json=[event()])
    answer = shop.get("/api/recommend/mia?n=2&offset=1&explain=true").json()
    assert answer["recommendation_id"]
    assert (answer["user_id"], answer["version"], answer["as_of_event"]) == ("mia", "fake-1", 1)
    assert [line["rank"] for line in answer["items"]] == [2, 3]
    assert answer["items"][0]["reason"] == "Because you have Steel spade."
    reason = shop.get(f"/api/explain/{answer['recommendation_id']}/hose").json()
    assert reason["row"]["explanation"] == "Because you have Steel spade."
    assert reason["same_state"] is True


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("category=Toys", ["bear", "blocks", "kite"]),
        ("category=Toys&category=Garden&exclude=bear&exclude=hose", ["spade", "seeds", "blocks", "kite"]),
        ("wish=more%20of%20Kitchen&n=1", ["mug"]),
        ("wish=never+of+Living&n=1", ["spade"]),
    ],
)
def test_a_list_as_it_is_asked_for(shop: Shop, query: str, expected: list[str]) -> None:
    assert listed(shop, "new", query) == expected


def test_what_is_struck_out_is_as_if_it_had_not_happened(shop: Shop) -> None:
    shop.http.post("/api/feedback", json=[event()])
    assert listed(shop)[0] == "seeds"
    assert listed(shop, query="n=12&without=spade")[0] == "lamp"


def test_the_other_lists(shop: Shop) -> None:
    post = shop.http.post
    session = post("/api/session/recommend", json={"events": [{"item_id": "bear"}], "n": 2}).json()
    assert [line["item_id"] for line in session["items"]] == ["blocks", "kite"]
    assert session["user_id"] is None
    rank = post("/api/rank", json={"user_id": "mia", "items": ["kite", "no such thing", "lamp"]}).json()
    assert [line["item_id"] for line in rank["items"]] == ["lamp", "kite"]
    page = post("/api/page", json={"have": ["bear"], "rows": 3, "n": 3}).json()
    shown = [line["item_id"] for row in page["rows"] for line in row["items"]]
    assert len(shown) == len(set(shown)) == 8
    shifts = post("/api/whatif", json={"user_id": "mia", "add": ["bear"], "n": 2}).json()["items"]
    assert shifts[0] == {"item_id": "blocks", "title": "Wooden blocks", "rank_before": None, "rank_after": 1}
    assert [line["item_id"] for line in shop.get("/api/item/bear/neighbors").json()["items"]] == ["blocks", "kite"]
    assert [line["item_id"] for line in shop.get("/api/search?q=warm+LAMP").json()["items"]] == ["lamp"]


def test_a_session_s_filters_reach_the_engine(shop: Shop) -> None:
    seen = []
    original = shop.live.session

    async def session(events: Any, ask: Any, *, keep: bool = True) -> Any:
        seen.append((events, ask))
        return await original(events, ask)

    shop.live.session = session  # type: ignore[method-assign]
    body = {
        "events": [{"item_id": "bear", "timestamp": 1_700_000_000_000, "kind": "view"}],
        "filters": {"price": {"max": 20}, "brand": ["a", "b"]},
        "candidates": ["kite"],
        "include_seen": True,
    }
    assert shop.http.post("/api/session/recommend", json=body).status_code == 200
    events, ask = seen[0]
    assert events == [{"item_id": "bear", "timestamp": 1_700_000_000.0, "kind": "view"}]
    assert ask.filters == {"price": (None, 20), "brand": ["a", "b"]}
    assert ask.candidates == ("kite",)
    assert ask.exclude_seen is False


def test_rules_reach_the_engine(shop: Shop) -> None:
    seen = []
    original = shop.live.recommend

    async def recommend(user_id: str, ask: Any) -> Any:
        seen.append((user_id, ask))
        return await original(user_id, ask)

    shop.live.recommend = recommend  # type: ignore[method-assign]
    rules: dict[str, Any] = {
        "caps": {"categories": 2, "author": 0.3},
        "ceilings": {"price": 20, "released": "2020-01-31"},
        "groups": ["series"],
        "pinned": ["kite"],
        "boosted": {"Garden": -0.5},
        "calibrated": 0.5,
        "diversity_by": "dpp",
    }
    body = {"user_id": "mia", "n": 3, "by": "similarity", "filters": {"price": {"min": 5}}} | rules
    assert shop.http.post("/api/recommend", json=body).status_code == 200
    assert shop.http.post("/api/recommend", json={"user_id": "a/b"}).json()["user_id"] == "a/b"
    assert listed(shop, query="by=rating&n=1") == ["lamp"]
    asked = [(user, ask.by, ask.rules, ask.filters) for user, ask in seen]
    assert asked[0] == ("mia", "similarity", rules, {"price": (5, None)})
    assert asked[1:] == [("a/b", "history", None, None), ("mia", "rating", None, None)]


# --- ids -------------------------------------------------------------------------------------------------------------

ODD = [
    "a/b",
    "..",
    ".",
    "%2F",
    "a%2Fb",
    "🧁",
    " ",
    "a b",
    "100%",
    "a?b#c",
    "x" * 1000,
    "é/../ü",
    "neighbors",
    "a/neighbors",
]


@pytest.mark.parametrize("name", ODD)
def test_any_id_can_stand_in_a_path(shop: Shop, name: str) -> None:
    part = quote(name, safe="").replace(".", "%2E")
    assert shop.http.post("/api/items", json=[{"item_id": name, "title": "Odd"}]).status_code == 200
    assert shop.get(f"/api/item/{part}").json()["item_id"] == name
    assert shop.get(f"/api/item/{part}/neighbors").status_code == 200
    assert shop.http.post("/api/feedback", json=[event(user_id=name, item_id=name)]).status_code == 200
    answer = shop.get(f"/api/recommend/{part}?explain=true").json()
    assert answer["user_id"] == name
    assert name not in [line["item_id"] for line in answer["items"]]
    other = shop.get(f"/api/recommend/{part}?include_seen=1&n=20").json()
    assert shop.get(f"/api/explain/{other['recommendation_id']}/{part}").json()["item_id"] == name
    assert shop.get(f"/api/user/{part}").json()["user_id"] == name
    assert shop.http.delete(f"/api/user/{part}").json()["events"] == 1
    assert shop.get(f"/api/user/{part}").status_code == 404


@pytest.mark.parametrize("part", ["%FF", "%00", "%ED%A0%80", "x" * 1001, ""])
def test_what_is_no_id_is_refused(shop: Shop, part: str) -> None:
    for path in (f"/api/recommend/{part}", f"/api/user/{part}", f"/api/item/{part}", f"/api/explain/r/{part}"):
        assert problem(shop.get(path))[:2] == (422, "invalid"), path
    assert shop.live.calls.total() == 0


# --- events ----------------------------------------------------------------------------------------------------------


def test_gorse_s_and_ubi_s_events_are_events(shop: Shop) -> None:
    sent = [
        {"FeedbackType": "star", "UserId": "ann", "ItemId": "bear", "Timestamp": "2026-01-02T03:04:05Z", "Value": 2},
        {"FeedbackType": "read", "UserId": "ann", "ItemId": "kite", "Timestamp": ""},
        {
            "action_name": "click",
            "client_id": "ben",
            "query_id": "r-1",
            "timestamp": "2026-01-02T03:04:05+00:00",
            "event_attributes": {"object": {"object_id": "lamp", "name": "Lamp"}, "position": {"ordinal": 3}},
        },
    ]
    assert shop.http.post("/api/feedback", json=sent).json()["accepted"] == 3
    star, read, click = (stored.event for stored in shop.live.events)
    assert (star.user_id, star.item_id, star.kind, star.weight, star.timestamp) == (
        "ann",
        "bear",
        "star",
        2,
        1767323045,
    )
    assert abs(read.timestamp - time.time()) < 60
    assert (click.user_id, click.item_id, click.kind, click.recommendation_id) == ("ben", "lamp", "click", "r-1")


def test_a_dated_event_sent_twice_counts_once_and_one_without_a_time_twice(shop: Shop) -> None:
    dated = event(timestamp=1_700_000_000, kind="view")
    for sent, counts in ((dated, 1), (dated | {"timestamp": 1_700_000_000_000}, 1), (event(), 2), (event(), 3)):
        assert shop.http.post("/api/feedback", json=[sent]).status_code == 200
        assert len(shop.live.events) == counts


def test_other_content_under_a_known_id_is_a_conflict_unless_it_is_put(shop: Shop) -> None:
    first, other = event(event_id="e", timestamp=1), event(event_id="e", timestamp=1, kind="view")
    assert shop.http.post("/api/feedback", json=[first]).json()["accepted"] == 1
    assert shop.http.post("/api/feedback", json=[first]).json()["known"] == 1
    assert problem(shop.http.post("/api/feedback", json=[other]))[:2] == (409, "conflict")
    assert shop.http.put("/api/feedback", json=[other]).json()["replaced"] == 1
    assert shop.live.events[0].event.kind == "view"


@pytest.mark.parametrize(
    ("time_sent", "kept"),
    [(0, 0.0), (1.5, 1.5), (1_700_000_000_123, 1_700_000_000.123), ("2026-01-02", 1767312000.0)],
)
def test_times_in_several_notations(shop: Shop, time_sent: Any, kept: float) -> None:
    assert shop.http.post("/api/feedback", json=[event(timestamp=time_sent)]).status_code == 200
    assert shop.live.events[0].event.timestamp == kept


# --- items and users -------------------------------------------------------------------------------------------------


def test_items_come_go_and_are_read_in_parts(shop: Shop) -> None:
    sent = [
        {"item_id": "new", "title": "New", "categories": "Toys", "price": 3.5, "tags": ["a", "b"], "left": None},
        {"ItemId": "gone", "IsHidden": True, "Categories": ["Toys"], "Comment": "Gone", "Labels": {"size": 3}},
    ]
    assert shop.http.put("/api/items", json=sent).json() == {"added": 2, "changed": 0}
    new, gone = shop.get("/api/item/new").json(), shop.get("/api/item/gone").json()
    assert new["fields"] == {"title": "New", "categories": "Toys", "price": 3.5, "tags": ["a", "b"]}
    assert gone["hidden"] is True
    assert gone["fields"] == {"title": "Gone", "categories": ["Toys"], "labels": {"size": 3}}
    found, after = [], ""
    for _ in range(10):
        part = shop.get(f"/api/items?n=4{after}").json()
        found += [one["item_id"] for one in part["items"]]
        if part["next"] is None:
            break
        after = f"&after={quote(part['next'], safe='')}"
    assert sorted(found) == sorted(shop.live.records)
    assert len(found) == 14


def test_a_profile_counts_and_is_given_back(shop: Shop) -> None:
    sent = [{"user_id": "mia", "country": "NZ", "exclude": ["lamp"]}, {"UserId": "ann", "Labels": ["x"]}]
    assert shop.http.post("/api/users", json=sent).json() == {"users": 2}
    assert "lamp" not in listed(shop)
    assert shop.get("/api/user/mia").json()["fields"] == {"country": "NZ"}
    assert shop.get("/api/user/ann").json()["fields"] == {"labels": ["x"]}


# --- what is refused -------------------------------------------------------------------------------------------------

LONG = "x" * 10_000

BAD_EVENTS: dict[str, Any] = {
    "no user": {"item_id": "a"},
    "no item": {"user_id": "a"},
    "empty id": event(user_id=""),
    "long id": event(user_id=LONG),
    "long item": event(item_id=LONG),
    "NUL": event(user_id="a\0b"),
    "number as id": event(user_id=7),
    "null as id": event(item_id=None),
    "unknown field": event(colour="red"),
    "long unknown field": event(**{LONG: 1}),
    "future": event(timestamp=time.time() + 2 * 86_400),
    "future in milliseconds": event(timestamp=(time.time() + 2 * 86_400) * 1000),
    "ancient": event(timestamp=-1),
    "ancient text": event(timestamp="1900-01-01T00:00:00Z"),
    "huge time": event(timestamp=1e300),
    "huge whole time": event(timestamp=10**400),
    "no time": event(timestamp="yesterday"),
    "long time": event(timestamp="2" * 5000),
    "year 0": event(timestamp="0000-00-00"),
    "true as time": event(timestamp=True),
    "text as rating": event(rating="5"),
    "list as rating": event(rating=[5]),
    "weight below 0": event(weight=-1),
    "a number": 3,
    "null": None,
    "UBI without anybody": {"action_name": "click", "event_attributes": {"object": {"object_id": "x"}}},
    "UBI without an object": {"action_name": "click", "client_id": "x", "event_attributes": {}},
    "Gorse without an item": {"FeedbackType": "a", "UserId": "b"},
    "Gorse with more": {"FeedbackType": "a", "UserId": "b", "ItemId": "c", "Colour": "d"},
}


@pytest.mark.parametrize("name", BAD_EVENTS)
def test_a_bad_event_is_refused_and_nothing_of_its_request_is_taken_in(shop: Shop, name: str) -> None:
    response = shop.http.post("/api/feedback", json=[event(), BAD_EVENTS[name]])
    assert problem(response)[:2] == (422, "invalid")
    assert shop.live.calls.total() == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[{]",
        b"[NaN]",
        b'[{"user_id": "a", "item_id": "b", "rating": NaN}]',
        b'[{"user_id": "a", "item_id": "b", "rating": 1e999}]',
        b'[{"user_id": "a", "item_id": "b", "rating": -Infinity}]',
        b'[{"user_id": "\\ud800", "item_id": "b"}]',
        b'[{"user_id": "a", "item_id": "b", "\\udfff": 1}]',
        b"\xff\xfe",
        b"[" * 100_000,
        b"[" + b"1" * 5_000 + b"]",
        b"null",
        b'"text"',
        b"{}",
    ],
    ids=range(15),
)
def test_what_is_no_json_of_ours_is_refused(shop: Shop, body: bytes) -> None:
    for path in ("/api/feedback", "/api/items", "/api/users", "/api/session/recommend", "/api/rank"):
        if path == "/api/session/recommend" and body == b"{}":
            continue
        response = shop.http.post(path, content=body, headers={"content-type": "application/json"})
        assert problem(response)[:2] == (422, "invalid"), path
    assert shop.live.calls.total() == 0


def test_json_under_another_name_is_refused(shop: Shop) -> None:
    for kind in ({"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}, {}):
        response = shop.http.post("/api/feedback", content=json.dumps([event()]), headers=kind)
        assert "Content-Type: application/json" in problem(response)[2]
    assert shop.live.calls.total() == 0


@pytest.mark.parametrize(
    "query",
    [
        "n=0",
        "n=-1",
        "n=1000000",
        "n=101",
        f"n={'9' * 5000}",
        "n=ten",
        "n=1.5",
        "offset=-1",
        "offset=1000000",
        "diversity=2",
        "diversity=nan",
        "diversity=inf",
        "explain=perhaps",
        "N=5",
        "exclude=",
        "exclude=%00",
        f"exclude={'x' * 1001}",
        f"wish={'x' * 2001}",
        "by=likes",
        "wish=",
        "&".join(f"exclude={place}" for place in range(1001)),
    ],
    ids=lambda query: query[:20],
)
def test_a_bad_query_is_refused(shop: Shop, query: str) -> None:
    assert problem(shop.get(f"/api/recommend/mia?{query}"))[:2] == (422, "invalid")
    assert shop.live.calls.total() == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/session/recommend", {}),
        ("/api/session/recommend", {"events": [], "n": 1_000_000}),
        ("/api/session/recommend", {"events": [], "n": "5"}),
        ("/api/session/recommend", {"events": [], "n": True}),
        ("/api/session/recommend", {"events": [{"item_id": "a"}] * 1001}),
        ("/api/session/recommend", {"events": [{"item_id": "a", "timestamp": 1e300}]}),
        ("/api/session/recommend", {"events": [], "candidates": ["a"] * 1001}),
        ("/api/session/recommend", {"events": [], "filters": {"price": {"min": "1"}}}),
        ("/api/session/recommend", {"events": [], "filters": {"a": {"b": {"c": 1}}}}),
        ("/api/session/recommend", {"events": [], "model": "/etc/passwd"}),
        ("/api/recommend", {}),
        ("/api/recommend", {"user_id": "mia", "by": "likes"}),
        ("/api/recommend", {"user_id": "mia", "caps": {"categories": 0}}),
        ("/api/recommend", {"user_id": "mia", "caps": {"": 1}}),
        ("/api/recommend", {"user_id": "mia", "boosted": {"Garden": 4}}),
        ("/api/recommend", {"user_id": "mia", "ceilings": {"price": {"mia": 2}}}),
        ("/api/recommend", {"user_id": "mia", "pinned": ["a"] * 1001}),
        ("/api/recommend", {"user_id": "mia", "calibrated": 2}),
        ("/api/rank", {"items": []}),
        ("/api/rank", {"items": "lamp"}),
        ("/api/rank", {"items": [1]}),
        ("/api/rank", {"items": ["a"] * 1001}),
        ("/api/page", {"rows": 21}),
        ("/api/page", {"n": 101}),
        ("/api/whatif", {}),
        ("/api/whatif", {"user_id": "mia", "wishes": [LONG]}),
        ("/api/items", [{"title": "no id"}]),
        ("/api/items", [{"item_id": "a", "price": {"nested": 1}}]),
        ("/api/items", [{"item_id": "a", "text": "x" * 20_001}]),
        ("/api/items", [{"item_id": "a", "": 1}]),
        ("/api/items", [{"item_id": "a", LONG: 1}]),
        ("/api/items", [{"item_id": "a"} | {f"c{place}": 1 for place in range(101)}]),
        ("/api/items", [{"item_id": "a", "price": 10**30}]),
        ("/api/items", [{"item_id": "a", "hidden": "yes"}]),
        ("/api/items", [{"item_id": str(place)} for place in range(1001)]),
        ("/api/users", [{"user_id": "a", "exclude": "b"}]),
        ("/api/users", [{"user_id": "a", "exclude": ["b"] * 1001}]),
        ("/api/users", [{"UserId": "a", "Colour": "b"}]),
        ("/api/feedback", [event()] * 1001),
    ],
    ids=range(39),
)
def test_a_bad_body_is_refused(shop: Shop, path: str, body: Any) -> None:
    assert problem(shop.http.post(path, json=body))[:2] == (422, "invalid")
    assert shop.live.calls.total() == 0


def test_a_sentence_names_the_place_and_quotes_only_a_part(shop: Shop) -> None:
    message = problem(shop.http.post("/api/feedback", json=[event(), event(user_id=LONG)]))[2]
    assert message.startswith("[1].user_id: string should have at most 1000 characters")
    assert "x" * 50 not in message
    when = problem(shop.http.post("/api/feedback", json=[event(timestamp=[])]))[2]
    assert when.startswith("[0].timestamp: should be a valid number; got an array.")
    price = problem(shop.http.post("/api/items", json=[{"item_id": "a", "price": {"b": 1}}]))[2]
    assert price.startswith("[0].price: should be a valid boolean; got an object.")
    name = problem(shop.http.post("/api/items", json=[{"ItemId": "a", "Labels": {"b\0": 1}}]))[2]
    assert name.startswith("[0].Labels: a column's name has 1 to 100 characters")
    missing = problem(shop.http.post("/api/feedback", json=[{"user_id": "a"}]))[2]
    assert missing == "[0].item_id is missing; it is needed."
    assert problem(shop.get("/api/recommend/mia?n=101"))[2] == "n is at most 100 on this server; got 101."


def test_nothing_is_there_and_nothing_else_is_possible(shop: Shop) -> None:
    assert problem(shop.get("/api/nothing"))[:2] == (404, "unknown")
    assert problem(shop.get("/api/recommend"))[:2] == (405, "method")
    response = shop.http.patch("/api/items", json=[])
    assert problem(response)[:2] == (405, "method")
    assert "POST" in response.headers["allow"] or "GET" in response.headers["allow"]
    assert problem(shop.get("/api/" + LONG))[0] == 404


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (UnknownError("there is no such list; ask for one."), 404, "unknown"),
        (ConflictError("known otherwise."), 409, "conflict"),
        (DataError("no wish."), 422, "invalid"),
        (ConfigError("no setting."), 422, "invalid"),
        (BusyError("too much at once."), 503, "busy"),
        (StorageError("the disk is full."), 507, "storage"),
        (ServeError("no model is here."), 503, "busy"),
        (ArtifactError("/home/somebody/model is damaged"), 500, "internal"),
        (KeyError("secret"), 500, "internal"),
        (DataError(LONG), 422, "invalid"),
        (DataError("a \ud800 in it"), 422, "invalid"),
    ],
    ids=range(11),
)
def test_every_fault_is_a_code_and_a_sentence(shop: Shop, fault: Exception, status: int, code: str) -> None:
    shop.live.fault = fault
    for response in (
        shop.get("/api/recommend/mia"),
        shop.http.post("/api/feedback", json=[event()]),
        shop.get("/api/item/lamp"),
    ):
        found = problem(response)
        assert found[:2] == (status, code)
        assert "secret" not in found[2]
        assert "somebody" not in found[2]
        assert ("retry-after" in response.headers) == (status == 503)
    shop.live.fault = None
    assert shop.get("/api/recommend/mia").status_code == 200


def test_health(shop: Shop) -> None:
    assert shop.get("/api/health/live").json() == {"live": True}
    assert shop.get("/api/health/ready").json() == {"ready": True, "message": "ready"}
    shop.live.ready = lambda: (False, "a model is being read")  # type: ignore[method-assign]
    response = shop.get("/api/health/ready")
    assert problem(response) == (503, "busy", "a model is being read")
    assert shop.http.post("/api/refit").status_code == 202


def test_what_is_answered_is_kept_by_nobody_on_the_way(shop: Shop) -> None:
    headers = shop.get("/api/recommend/mia").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
    assert "immutable" in shop.get("/static/page.css").headers["cache-control"]


def test_figures_for_prometheus() -> None:
    with open_shop() as shop:
        figures(shop)


def figures(shop: Shop) -> None:
    shop.http.post("/api/feedback", json=[event(timestamp=time.time() - 100)])
    listed(shop)
    listed(shop, "a/b")
    shop.get("/api/nothing")
    shop.get("/api/recommend/mia?n=0")
    shop.live.settings = shop.live.settings.__class__(log_only=True)
    listed(shop)
    text = shop.get("/metrics").text
    route = 'method="GET",route="/api/recommend/{user_id}"'
    assert f'recllm_http_requests_total{{{route},status="200"}} 3.0' in text
    assert f'recllm_http_requests_total{{{route},status="422"}} 1.0' in text
    assert 'recllm_http_requests_total{method="GET",route="none",status="404"} 1.0' in text
    assert 'recllm_http_seconds_count{route="/api/recommend/{user_id}"} 4.0' in text
    assert "recllm_events_total 1.0" in text
    assert 'recllm_lists_total{kind="recommend",policy="ranking"} 2.0' in text
    assert 'recllm_lists_total{kind="recommend",policy="popular"} 1.0' in text
    assert 'recllm_model_info{version="fake-1"} 1.0' in text
    assert "recllm_as_of_event 1.0" in text
    age = float(text.split("\nrecllm_newest_event_age_seconds ")[1].split()[0])
    assert 99 < age < 200
