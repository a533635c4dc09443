"""The pictures of the README, of real output: a list with reasons as the server shows it, and the evaluation page.

    python scripts/bench/pictures.py [--model MODEL] [--report PAGE]

MODEL is a saved recommender of the shipped shop and PAGE an evaluation page; what is not given is made, which takes
minutes: the demo is learned, or measured against baselines. Needs Playwright, Debian's chromium and Pillow.
"""

import argparse
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright
from serve_page import CHROMIUM, engine, served

import recllm

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "pictures"
MOST_BYTES = 150_000
PICKS = ("r0184", "r3048")
"""Antique silver tea glass engraved, and a set of 6 snack loaf baking cases."""


def learned(folder: Path) -> Path:
    """The demo's recommender, saved."""
    recllm.Recommender(recllm.RecommenderConfig.demo()).fit(*recllm.load_demo()).save(folder)
    return folder


def measured(page: Path) -> Path:
    """The demo's settings against baselines, as a page."""
    report = recllm.evaluate(
        recllm.RecommenderConfig.demo(),
        *recllm.load_demo(),
        dataset="Online Retail",
        shots=(0, 1, 3, 5, 10, 20),
        baselines=["popularity", "recent popularity", "item-kNN", "EASE", "iALS"],
    )
    report.to_html(page)
    return page


def keep(page: Page, name: str, top: float, height: float) -> None:
    """A part of the page over its whole width, in few colours."""
    file = PICTURES / f"{name}.png"
    clip = {"x": 0, "y": top, "width": page.viewport_size["width"], "height": height}
    page.screenshot(path=file, clip=clip, full_page=True)
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(file, optimize=True)
    size = file.stat().st_size
    print(f"{file.name}: {size:,} bytes")
    assert size < MOST_BYTES, "a README is read on telephones, too"


def list_with_reasons(page: Page, base: str) -> None:
    page.goto(f"{base}/?{'&'.join(f'have={item}' for item in PICKS)}")
    page.locator(".list .why").first.click()
    expect(page.locator(".panel")).to_be_visible()
    page.wait_for_timeout(900)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--report", type=Path)
    asked = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        model = asked.model or learned(Path(temporary) / "model")
        report = asked.report or measured(Path(temporary) / "page.html")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        options = {"device_scale_factor": 1.5, "reduced_motion": "reduce", "color_scheme": "light"}
        with engine(model, short=False) as (live, _), served(live) as base:
            page = browser.new_page(viewport={"width": 720, "height": 1400}, **options)
            list_with_reasons(page, base)
            keep(page, "list", page.locator(".chip").first.bounding_box()["y"] - 50, 900)
        page = browser.new_page(viewport={"width": 1000, "height": 1400}, **options)
        page.goto(report.resolve().as_uri())
        keep(page, "report", 0, 900)
        browser.close()


if __name__ == "__main__":
    main()
