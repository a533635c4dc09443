"""Who may ask: keys and roles, browsers and their cookies, pages of other sites, and how often."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from recllm.errors import ConfigError, ServeError
from recllm.serve.settings import Settings
from recllm.serve.web import app as app_module
from recllm.serve.web.app import create_app
from recllm.serve.web.guard import COOKIE, Buckets, Sessions, is_loopback
from recllm.serve.web.keys import Key, Keys, Role, digest, new_key
from recllm.serve.web.routing import routes_of
from tests.serve.fake import FakeLive
from tests.serve.web.asking import Shop, open_shop, problem


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with open_shop(keys=True) as shop:
        yield shop


def operations(app: FastAPI) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, found in app.openapi()["paths"].items()
        for method, operation in found.items()
    ]


def ask(shop: Shop, method: str, path: str, operation: dict[str, Any], headers: dict[str, str]) -> int:
    """Ask with the description's own examples."""
    query = {}
    for parameter in operation.get("parameters", ()):
        example = next(iter(parameter.get("examples", parameter["schema"].get("examples", [None]))), None)
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(example))
        elif parameter["required"]:
            query[parameter["name"]] = example
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    sent = next(iter(body.get("examples", {}).values()), {}).get("value")
    return int(shop.http.request(method, path, params=query, json=sent, headers=headers).status_code)


WANTED = {
    "/api/health/live": "none",
    "/api/health/ready": "none",
    "/api/refit": "admin",
    "/api/user/{user_id}": "admin",
    "/metrics": "read",
    "/api/openapi.json": "read",
}
"""What is neither reading a list nor sending something."""


def test_the_matrix_of_routes_and_roles(shop: Shop) -> None:
    callers: dict[str, tuple[int, dict[str, str]]] = {
        "nobody": (0, {}),
        "a wrong key": (0, {"authorization": "Bearer recllm_admin_wrong"}),
        "an empty key": (0, {"authorization": "Bearer "}),
        "basic": (0, {"authorization": f"Basic {shop.secrets[Role.ADMIN]}"}),
        "a wrong cookie": (0, {"cookie": f"{COOKIE}=wrong"}),
        **{role.name.lower(): (int(role), shop.bearer(role)) for role in Role},
        "as Gorse sends it": (1, {"x-api-key": shop.secrets[Role.READ]}),
    }
    ranks = {"none": 0, "read": 1, "write": 2, "admin": 3}
    wrong, cells = [], 0
    for method, path, operation in operations(shop.app):
        default = (
            "write" if method in ("POST", "PUT") and path in ("/api/feedback", "/api/items", "/api/users") else "read"
        )
        wanted = WANTED.get(path, default)
        assert operation["x-role"] == wanted, path
        for caller, (rank, headers) in callers.items():
            status, cells = ask(shop, method, path, operation, headers), cells + 1
            refused = 401 if rank == 0 else 403
            if (status == refused) != (ranks[wanted] > rank) or (rank >= ranks[wanted] and status in (401, 403)):
                wrong.append((method, path, caller, status))
    assert wrong == []
    assert cells == 9 * 24


def test_the_page_is_for_readers_and_the_dashboard_for_admins(shop: Shop) -> None:
    for path, methods, needs in routes_of(shop.app):
        assert needs is not None, path
        if path.startswith(("/dashboard", "/api/user/", "/api/refit")):
            assert needs is not None
            assert needs.role is Role.ADMIN, (path, methods)
    for caller in ({}, {"authorization": "Bearer x"}):
        assert shop.get("/", headers=caller).status_code == 401
        assert shop.http.post("/mcp", json={}, headers=caller).status_code == 401
    assert shop.get("/", headers=shop.bearer(Role.READ)).status_code == 200
    assert shop.get("/static/page.css").status_code == 200


def test_nothing_is_read_of_what_somebody_sends_who_may_not(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(text: str, **how: Any) -> Any:
        raise AssertionError("it was read")

    monkeypatch.setattr("recllm.serve.web.routing.json.loads", read)
    for headers, status in (({}, 401), (shop.bearer(Role.READ), 403), (shop.bearer(Role.WRITE), 400)):
        assert shop.http.post("/api/feedback", json=[], headers=headers).status_code == status


def test_a_route_without_a_role_stops_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi import APIRouter

    router = APIRouter()

    @router.get("/api/bare")
    async def bare() -> None: ...

    monkeypatch.setattr(app_module.running, "router", router)
    with pytest.raises(ServeError, match="/api/bare"):
        create_app(FakeLive())


def test_without_keys_a_server_listens_on_this_machine_only() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.5", "shop.example", ""):
        with pytest.raises(ConfigError, match="new-key"):
            create_app(FakeLive(Settings(host=host)))
    _, key = new_key("k", Role.READ)
    create_app(FakeLive(Settings(host="0.0.0.0")), Keys([key]))


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LOCALHOST:80", True),
        ("127.0.0.1:8765", True),
        ("127.1.2.3", True),
        ("[::1]:8765", True),
        ("::1", True),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("evil.example#localhost", False),
        ("localhost@evil.example", False),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_which_hosts_are_this_machine(host: str, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "evil.example:8765"},
        {"host": "localhost.evil.example"},
        {"host": "[bad"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "https://127.0.0.1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_no_other_site_speaks_to_a_server_without_keys(headers: dict[str, str]) -> None:
    with open_shop() as shop:
        event = [{"user_id": "mia", "item_id": "lamp"}]
        for response in (
            shop.http.post("/api/feedback", json=event, headers=headers),
            shop.http.delete("/api/user/mia", headers=headers),
            shop.get("/api/user/mia", headers=headers),
            shop.get("/api/recommend/mia", headers=headers),
            shop.http.post("/mcp", json={}, headers=headers),
        ):
            assert problem(response)[:2] == (403, "forbidden")
        if "navigate" not in headers.values():
            assert shop.get("/", headers=headers).status_code == 403
            assert shop.get("/metrics", headers=headers).status_code == 403
        assert shop.live.calls.total() == 0
        own = {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}
        assert shop.http.post("/api/feedback", json=event, headers=own).status_code == 200


# --- browsers --------------------------------------------------------------------------------------------------------


def test_a_browser_shows_its_key_once() -> None:
    with open_shop(keys=True) as shop:
        shop.http.follow_redirects = False
        html = {"accept": "text/html"}
        sent = shop.get("/dashboard", headers=html)
        assert (sent.status_code, sent.headers["location"]) == (303, "/login?next=/dashboard")
        form = shop.get(sent.headers["location"], headers=html)
        assert form.status_code == 200
        assert 'value="/dashboard"' in form.text
        assert "default-src 'none'" in form.headers["content-security-policy"]
        wrong = shop.http.post("/login", data={"key": "no", "next": "/"}, headers=html)
        assert wrong.status_code == 401
        assert "set-cookie" not in wrong.headers
        right = shop.http.post("/login", data={"key": shop.secrets[Role.READ], "next": "/"}, headers=html)
        assert (right.status_code, right.headers["location"]) == (303, "/")
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert shop.secrets[Role.READ] not in cookie
        assert shop.get("/", headers=html).status_code == 200
        assert shop.get("/api/recommend/mia").status_code == 200
        assert shop.http.delete("/api/user/mia").status_code == 403
        # The cookie alone does not let other sites in.
        for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "same-site"}):
            assert shop.http.post("/api/rank", json={"items": ["lamp"]}, headers=headers).status_code == 403
        token = shop.http.cookies[COOKIE]
        assert shop.http.post("/logout").status_code == 303
        assert shop.get("/", headers={"cookie": f"{COOKIE}={token}", "accept": "text/html"}).status_code == 303


@pytest.mark.parametrize("target", ["https://evil.example", "//evil.example", "/\\evil.example", '"><script>', "/api"])
def test_nobody_is_sent_elsewhere_after_a_login(shop: Shop, target: str) -> None:
    form = shop.get("/login", params={"next": target})
    assert 'value="/"' in form.text
    assert "<script>" not in form.text
    body = {"key": shop.secrets[Role.READ], "next": target}
    answer = shop.http.post("/login", data=body, follow_redirects=False)
    assert answer.headers["location"] == "/"
    shop.http.cookies.clear()


def test_another_site_cannot_log_a_browser_in(shop: Shop) -> None:
    body = {"key": shop.secrets[Role.READ]}
    assert shop.http.post("/login", data=body, headers={"origin": "http://evil.example"}).status_code == 403


def test_an_error_is_a_page_where_a_person_looks(shop: Shop) -> None:
    headers = shop.bearer(Role.READ) | {"accept": "text/html"}
    missing = shop.get("/nothing", headers=headers)
    assert missing.status_code == 404
    assert missing.text.lower().startswith("<!doctype html>")
    refused = shop.get("/dashboard", headers=headers)
    assert refused.status_code in (403, 404)
    assert problem(shop.get("/api/nothing", headers=headers))[0] == 404


def test_sessions_are_bounded_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions, key = Sessions(), Key("k", Role.READ, "0" * 64)
    first = sessions.open(key)
    assert sessions.find(first) == key
    tokens = [sessions.open(key) for _ in range(1_000)]
    assert sessions.find(first) is None
    assert first not in str(vars(sessions))
    assert tokens[-1] not in str(vars(sessions))
    monkeypatch.setattr("time.monotonic", lambda: 1e12)
    assert sessions.find(tokens[-1]) is None


# --- keys ------------------------------------------------------------------------------------------------------------


def test_only_the_digest_of_a_key_is_kept(tmp_path: Path) -> None:
    secret, key = new_key("shop", Role.WRITE)
    assert key.sha256 == hashlib.sha256(secret.encode()).hexdigest() == digest(secret)
    assert secret not in str(Keys([key]).to_dict())
    path = tmp_path / "keys.toml"
    path.write_text(f'[keys.shop]\nrole = "write"\nsha256 = "{key.sha256}"\n')
    for keys in (Keys.from_dict(Keys([key]).to_dict()), Keys.read(path)):
        assert keys.find(secret) == key
        assert keys.find(secret + "x") is None
        assert keys.find("") is None
        assert keys.find("\ud800") is None
        assert keys.find("x" * 10_000) is None


def test_every_key_is_compared_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [new_key(str(place), Role.READ) for place in range(3)]
    compared = []

    def compare(one: str, other: str) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert Keys(key for _, key in made).find(made[0][0]) == made[0][1]
    assert compared == [key.sha256 for _, key in made]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "keys = 1",
        "[keys.a]",
        '[keys.a]\nrole = "king"\nsha256 = "' + "0" * 64 + '"',
        '[keys.a]\nrole = "read"\nsha256 = "secret"',
        '[keys.a]\nrole = 1\nsha256 = "' + "0" * 64 + '"',
        '[keys.a]\nrole = "read"\nsha256 = "' + "0" * 64 + '"\nmore = 1',
        '[keys.a]\nrole = "read"\nsha256 = "' + "0" * 64 + '"\n[other]',
    ],
)
def test_a_wrong_file_of_keys_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        Keys.read(path)
    with pytest.raises(ConfigError, match=r"none\.toml"):
        Keys.read(tmp_path / "none.toml")


# --- how often -------------------------------------------------------------------------------------------------------


def test_a_key_that_asks_too_often_is_told_when_to_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("recllm.serve.web.guard.time.monotonic", lambda: now[0])
    with open_shop(keys=True, rate=2) as shop:
        read, admin = shop.bearer(Role.READ), shop.bearer(Role.ADMIN)
        assert [shop.get("/api/recommend/mia", headers=read).status_code for _ in range(3)] == [200, 200, 429]
        refused = shop.get("/api/recommend/mia", headers=read)
        assert problem(refused)[:2] == (429, "rate")
        assert refused.headers["retry-after"] == "1"
        assert shop.get("/api/recommend/mia", headers=admin).status_code == 200, "each key has its own bucket"
        assert shop.http.post("/mcp", json={}, headers=read).status_code == 429
        assert shop.get("/api/health/live").status_code == 200
        now[0] += 0.5
        assert [shop.get("/api/recommend/mia", headers=read).status_code for _ in range(2)] == [200, 429]
        wrong = {"authorization": "Bearer guess"}
        assert [shop.get("/metrics", headers=wrong).status_code for _ in range(3)] == [401, 401, 429]
        assert shop.http.post("/login", data={"key": "guess"}).status_code == 429


def test_buckets_are_bounded() -> None:
    buckets = Buckets(0.5)
    assert buckets.take("a") == 0
    assert 1 < buckets.take("a") <= 2
    for place in range(10_000):
        buckets.take(str(place))
    assert len(buckets._left) == 10_000
    assert Buckets(None).take("a") == 0
