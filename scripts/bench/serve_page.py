"""Page and dashboard in a browser: clicked through, by keyboard, without JavaScript, and looked over by axe.

    python scripts/bench/serve_page.py OUT [--model MODEL] [--short] [--axe FOLDER]

OUT gets a screenshot of each state at each width, light and dark, and `figures.json`. MODEL is a saved recommender; by
default the shipped demo shop answers from its texts. `--short` asks an engine without a model, at one width and without
axe. FOLDER is where npm puts axe-core, by default a temporary one; it is a tool of this script, not of the library.

Needs Playwright and Debian's chromium. Ends with 1 if anything is not as it should be.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import uvicorn
from playwright.sync_api import Browser, Route, expect, sync_playwright
from serve_visitor import Found, Visitor

from recllm.serve.web.app import create_app

AXE = "axe-core@4.14.1"
CHROMIUM = "/usr/bin/chromium"
LOOKS = [(width, scheme) for width in (360, 768, 1280) for scheme in ("light", "dark")]


def clicked(visitor: Visitor, user: str | None) -> None:
    """All states of the page, one after the other."""
    page, found = visitor.page, visitor.found
    visitor.go("/")
    visitor.look("1-first-visit")
    first = visitor.titles()
    visitor.pick(2)
    visitor.pick(3)
    found.check(visitor.titles() != first, f"{visitor.name}: two picks changed nothing")
    found.check(page.locator(".badge").count() > 0, f"{visitor.name}: nothing is called new after a pick")
    visitor.look("2-two-picks")
    picked, with_both = page.url, visitor.titles()
    if visitor.open_a_cause():
        visitor.look("3-why")
        page.locator(".strike").first.click()
        expect(page.locator(".chip.out")).to_have_count(1)
        found.check(visitor.titles() != with_both, f"{visitor.name}: what was struck out changed nothing")
        visitor.look("4-struck-out")
        while page.url != picked:
            page.go_back()
            page.wait_for_timeout(400)
        expect(page.locator(".chip.out, .panel")).to_have_count(0)
        found.check(visitor.titles() == with_both, f"{visitor.name}: Back does not bring the list back")
    else:
        found.wrong.append(f"{visitor.name}: no line has a cause")
    page.fill("#q", first[0].split()[-1])
    expect(page.locator(".found .line").first).to_be_visible()
    found.check("q=" in page.url, f"{visitor.name}: the search is not in the address")
    visitor.look("5-search")
    page.fill("#q", "qqzzxxkk")
    expect(page.locator("#found")).to_contain_text("qqzzxxkk")
    visitor.look("6-empty-search")
    if user is not None:
        visitor.go(f"/user/{user}")
        visitor.look("7-user")
    visitor.go("/dashboard")
    visitor.look("9-dashboard")
    found.check(page.locator(".bars .based").count() > 0, f"{visitor.name}: the dashboard has no click-through")
    page.click("summary")
    expect(page.locator("pre")).to_be_visible()


def hurried(visitor: Visitor) -> None:
    """A click while the last one is on its way does not undo it."""
    page = visitor.page

    def late(route: Route) -> None:
        if "have=" in route.request.url:
            time.sleep(0.3)
        route.continue_()

    visitor.go("/")
    first = visitor.titles()[0]
    page.route("**/*", late)
    page.evaluate("document.getElementById('line-add-1').click(); document.getElementById('line-add-2').click()")
    expect(page.locator(".chip")).to_have_count(1)
    page.wait_for_timeout(500)
    chips = page.locator(".chip .name").all_inner_texts()
    visitor.found.check(chips == [first], f"two clicks at once pick {chips}, not {first!r}")
    page.unroute("**/*")


def failing(visitor: Visitor) -> None:
    """What is seen when the server cannot answer: a page in its place, or a line above it."""
    page, found = visitor.page, visitor.found
    visitor.expected = True
    visitor.go("/user/nobody%20there")
    visitor.look("8-error")
    visitor.go("/")
    whole = page.content().split("<main")[0] + '<main id="main"><h1>Busy for a moment</h1></main></body></html>'
    answers: dict[str, dict[str, Any] | None] = {
        "#main h1": {"status": 503, "content_type": "text/html", "body": whole},
        "#trouble:visible": {"status": 429, "content_type": "application/json", "body": '{"error": {}}'},
        "#trouble": None,
    }
    for place, answer in answers.items():

        def handle(route: Route, *, answer: dict[str, Any] | None = answer) -> None:
            if "have=" not in route.request.url:
                route.continue_()
            elif answer is None:
                route.abort()
            else:
                route.fulfill(**answer)

        visitor.go("/")
        page.route("**/*", handle)
        page.click("#line-add-1")
        expect(page.locator(place).first).to_be_visible()
        words = page.locator(place).first.inner_text()
        found.check(any(word in words for word in ("busy", "Busy", "reached")), f"{place} says {words!r}")
        found.check(page.locator("main").count() == 1, f"after {answer} the page is gone")
        page.unroute("**/*")
    visitor.expected = False


def typed(visitor: Visitor) -> None:
    """Everything by keyboard: what has the focus is seen, and keeps it."""
    page, found = visitor.page, visitor.found
    visitor.go("/")

    def tab_to(selector: str, most: int = 80) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
                found.check(outline != "none", f"keyboard: the focus on {selector} is not seen")
                return
        found.wrong.append(f"keyboard: {selector} cannot be reached")

    tab_to(".skip", 1)
    tab_to("#line-add-1")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_count(1)
    page.wait_for_timeout(200)
    found.check(page.evaluate("document.activeElement.id") == "line-add-1", "keyboard: a pick loses the focus")
    tab_to("#why-2")
    page.keyboard.press("Enter")
    expect(page.locator("#panel-2")).to_be_visible()
    found.check(page.evaluate("document.activeElement.id") == "why-2", "keyboard: why? loses the focus")
    page.keyboard.press("Enter")
    expect(page.locator(".panel")).to_have_count(0)
    page.focus("#q")
    page.keyboard.type(visitor.titles()[0].split()[0])
    page.keyboard.press("Enter")
    expect(page.locator(".found")).to_be_visible()
    found.check(page.evaluate("document.activeElement.id") == "q", "keyboard: a search loses the focus")


def without_javascript(visitor: Visitor) -> None:
    """Plain links and a form."""
    page, found = visitor.page, visitor.found
    visitor.go("/")
    first = visitor.titles()
    page.click("#line-add-1")
    found.check(page.locator(".chip").count() == 1, "no JavaScript: a pick is no pick")
    found.check(first[0] not in visitor.titles(), "no JavaScript: the list stays")
    page.click("#why-1")
    found.check(page.locator(".panel .words").count() == 1, "no JavaScript: why? says nothing")
    page.fill("#q", first[1].split()[-1])
    page.click(".find button")
    found.check(page.locator(".found").count() == 1 == page.locator(".chip").count(), "no JavaScript: no search")
    page.click(".drop")
    found.check(page.locator(".chip").count() == 0, "no JavaScript: a pick stays")
    visitor.look("2-no-javascript")


def used(base: str, users: Sequence[str]) -> None:
    """Lists that were answered, and of some of them a click."""
    with httpx.Client(base_url=base, timeout=60) as client:
        for number, user in enumerate(users):
            answer = client.get(f"/api/recommend/{quote(user, safe='')}").raise_for_status().json()
            line = answer["items"][number * number % 7 % len(answer["items"])]
            event = {"user_id": user, "item_id": line["item_id"], "recommendation_id": answer["recommendation_id"]}
            if number % 3 == 0:
                client.post("/api/feedback", json=[event]).raise_for_status()


def drive(
    base: str, out: Path, *, looks: list[tuple[int, str]], axe: str | None, user: str | None, use: Callable[[], None]
) -> Found:
    """All of it, in one browser; `use` makes what a dashboard has figures of."""
    found = Found()
    still = {} if axe else {"reduced_motion": "reduce"}

    def window(browser: Browser, width: int, scheme: str, name: str, **options: Any) -> Visitor:
        size = {"width": width, "height": 800}
        context = browser.new_context(viewport=size, color_scheme=scheme, **still, **options)
        context.set_default_timeout(10_000)
        return Visitor(context, base, found, out, name, axe)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, scheme in looks:
            fresh = window(browser, width, scheme, f"{width}-{scheme}")
            fresh.go("/dashboard")
            fresh.look("0-dashboard-empty")
        use()
        for width, scheme in looks:
            clicked(window(browser, width, scheme, f"{width}-{scheme}"), user)
            failing(window(browser, width, scheme, f"{width}-{scheme}"))
        hurried(window(browser, 360, "light", "hurried"))
        typed(window(browser, 1280, "light", "keyboard"))
        without = window(browser, 360, "light", "plain", java_script_enabled=False)
        without.axe = None
        without_javascript(without)
        browser.close()
    return found


@contextlib.contextmanager
def served(live: Any) -> Iterator[str]:
    """The address of a server on this machine that stops by itself."""
    server = uvicorn.Server(uvicorn.Config(create_app(live), host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in range(600):
        if server.started:
            break
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


def axe_source(folder: Path) -> str:
    """The text of axe-core, installed by npm where it is not there yet."""
    file = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not file.exists():
        subprocess.run(["npm", "install", "--silent", "--no-save", "--prefix", str(folder), AXE], check=True)
    return file.read_text(encoding="utf-8")


@contextlib.contextmanager
def engine(model: Path | None, short: bool) -> Iterator[tuple[Any, Sequence[str]]]:
    """What answers, and users that it knows."""
    if short:
        sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
        from tests.serve.page.shop import ShopLive

        live = ShopLive()
        live.remember("mia", "lamp", "spade", "seeds")
        yield live, ["mia"]
        return
    import recllm
    from recllm.serve.live.live import Live
    from recllm.serve.settings import Settings

    recommender = recllm.Recommender.load(model) if model else recllm.Recommender.from_catalog(recllm.load_demo()[0])
    with tempfile.TemporaryDirectory() as folder:
        running = Live.open(Path(folder) / "data", recommender, Settings(port=0))
        try:
            yield running, recommender.user_ids[:60]
        finally:
            running.close()


def main() -> None:
    """Drive, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--axe", type=Path)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory())
        live, users = stack.enter_context(engine(asked.model, asked.short))
        base = stack.enter_context(served(live))
        found = drive(
            base,
            asked.out,
            looks=LOOKS[:1] if asked.short else LOOKS,
            axe=None if asked.short else axe_source(asked.axe or Path(temporary)),
            user=users[0] if users else None,
            use=live.be_used if asked.short else lambda: used(base, users or [f"visitor {row}" for row in range(60)]),
        )
    middle = {name: sorted(values)[len(values) // 2] for name, values in found.milliseconds.items()}
    figures = {"states": found.states, "looked_over": found.looked_over, "wrong": found.wrong, "median_ms": middle}
    (asked.out / "figures.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False), encoding="utf-8")
    print(json.dumps(figures, indent=1, ensure_ascii=False))
    sys.exit(bool(found.wrong))


if __name__ == "__main__":
    main()
