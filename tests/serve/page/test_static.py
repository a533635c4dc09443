"""The files beside the pages: which there are, and what they are."""

import hashlib
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from recllm.serve.page.render import STATIC, static

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "recllm" / "serve" / "page"
HTMX = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"


def test_htmx_is_the_file_that_was_published() -> None:
    content = (FOLDER / "static" / "htmx.min.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() == HTMX
    note = (FOLDER / "static" / "README.md").read_text(encoding="utf-8")
    assert HTMX in note
    assert "4.0.1" in note
    assert "Zero-Clause BSD" in note


def test_static_files_are_served_under_the_name_of_their_content(browser: TestClient) -> None:
    page = browser.get("/").text
    for name, kind in STATIC.items():
        address = f"/static/{name}?v={static(name)[1]}"
        assert address in page, name
        answer = browser.get(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == kind
        assert "immutable" in answer.headers["cache-control"]
        assert answer.content == (FOLDER / "static" / name).read_bytes()


@pytest.mark.parametrize("name", ["README.md", "../render.py", "..%2Frender.py", "%2e%2e/render.py", "page.css/", ""])
def test_no_other_file_is_served(browser: TestClient, name: str) -> None:
    answer = browser.get(f"/static/{name}", follow_redirects=False)
    assert answer.status_code in (404, 307)
    assert b"import" not in answer.content


def test_styles_fetch_nothing_and_respect_what_people_prefer() -> None:
    css = static("page.css")[0].decode()
    assert "url(" not in css
    assert "@import" not in css
    assert "prefers-color-scheme: dark" in css
    moving = css[css.index("prefers-reduced-motion: no-preference") :]
    moving = moving[: moving.index("\n}\n")]
    rest = css.replace(moving, "")
    assert not re.search(r"\b(animation|transition|@keyframes)\b", rest)


def test_our_script_makes_nothing_of_text() -> None:
    code = static("page.js")[0].decode()
    assert not re.search(r"innerHTML|insertAdjacent|eval|Function|document\.write|cookie|localStorage", code)
