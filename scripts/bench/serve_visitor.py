"""A visitor of the page: a browser window, what is seen in it, and what is wrong with that."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import BrowserContext, expect

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@dataclass
class Found:
    """What a run found; `wrong` is empty if all is well."""

    wrong: list[str] = field(default_factory=list)
    states: int = 0
    looked_over: int = 0
    milliseconds: dict[str, list[float]] = field(default_factory=dict)

    def check(self, is_so: bool, words: str) -> None:
        if not is_so:
            self.wrong.append(words)

    def timed(self, name: str, began: float) -> None:
        self.milliseconds.setdefault(name, []).append(round(1e3 * (time.perf_counter() - began), 1))


class Visitor:
    """A browser window, and what is seen in it."""

    def __init__(self, context: BrowserContext, base: str, found: Found, out: Path, name: str, axe: str | None) -> None:
        self.page, self.base, self.found, self.out, self.name, self.axe = (
            context.new_page(),
            base,
            found,
            out,
            name,
            axe,
        )
        self.expected = False
        self.page.on("console", lambda message: self._said(message.type, message.text))
        self.page.on("pageerror", lambda error: self._said("error", str(error)))

    def _said(self, kind: str, text: str) -> None:
        self.found.check(self.expected or kind not in ("error", "warning"), f"{self.name}: console {kind}: {text}")

    def go(self, path: str) -> None:
        self.page.goto(self.base + path)

    def titles(self) -> list[str]:
        """Of the recommended lines."""
        return [text.removesuffix(" New").strip() for text in self.page.locator(".list h3").all_inner_texts()]

    def look(self, state: str) -> None:
        """Take a picture, and see whether everybody can use it."""
        self.found.states += 1
        self.page.wait_for_timeout(700 if self.axe else 100)  # what moves has arrived
        self.page.screenshot(path=self.out / f"{state}-{self.name}.png", full_page=True)
        wide = self.page.evaluate("document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth")
        self.found.check(wide <= 0, f"{state} {self.name}: {wide} px wider than the window")
        if self.axe is None:
            return
        self.page.evaluate(self.axe + "; 0")
        result = self.page.evaluate(
            "rules => axe.run(document, {runOnly: rules}).then(found => found.violations.map(one => "
            "one.id + ': ' + one.nodes.map(node => node.target.join(' ')).join(', ')))",
            RULES,
        )
        self.found.looked_over += 1
        for violation in result:
            self.found.wrong.append(f"{state} {self.name}: axe {violation}")

    def pick(self, place: int) -> str:
        """Pick the line at a place; its title."""
        title, count = self.titles()[place - 1], self.page.locator(".chip").count()
        began = time.perf_counter()
        self.page.click(f"#line-add-{place}")
        expect(self.page.locator(".chip")).to_have_count(count + 1)
        self.found.timed("click to new list", began)
        expect(self.page.locator(".reason:not(:empty)")).to_have_count(len(self.titles()))
        self.found.timed("click to reasons", began)
        self.found.check(title not in self.titles(), f"{self.name}: {title!r} was picked and is still listed")
        return title

    def open_a_cause(self) -> bool:
        """Open reasons until one has a cause."""
        for place in range(1, len(self.titles()) + 1):
            began = time.perf_counter()
            self.page.click(f"#why-{place}")
            expect(self.page.locator(f"#line-{place} .panel")).to_be_visible()
            self.found.timed("why?", began)
            if self.page.locator(".strike").count():
                return True
        return False
