"""The site: everything public is in the reference, and the notebook runs and says nothing of the machine it ran on."""

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recllm
from recllm.encoders.config import BaseTrainingConfig
from recllm.model.config import RecommenderConfig
from recllm.testing import DEPARTMENTS, ToyShop
from tests.small import config_for

DOCS = Path(__file__).resolve().parent.parent / "docs"
NOTEBOOK = DOCS / "first-steps.ipynb"


def test_everything_public_is_in_the_reference() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    shown = set(re.findall(r"^::: recllm\.(\w+)$", pages, flags=re.MULTILINE))
    errors = {name for name in recllm.__all__ if hasattr(recllm.errors, name)}
    assert "errors" in shown
    assert set(recllm.__all__) - {"__version__"} - errors - shown == set()


def test_the_notebook_was_kept_as_it_ran() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] is None and not cell["metadata"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert not re.search(r"(?<![\w.])/(home|root|tmp|usr|opt|work|Users)/", json.dumps(outputs))
    assert "Because of" in json.dumps(outputs)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    """In a minute; a cell that fails fails this."""
    copy = shutil.copy(NOTEBOOK, tmp_path)
    command = [sys.executable, str(DOCS / "site" / "notebook.py"), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=DOCS.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    kept, made = (json.loads(Path(path).read_text(encoding="utf-8"))["cells"] for path in (NOTEBOOK, copy))
    assert [cell["source"] for cell in kept] == [cell["source"] for cell in made]
    assert [len(cell.get("outputs", ())) for cell in kept] == [len(cell.get("outputs", ())) for cell in made]


def run_page(page: str, names: dict[str, Any]) -> dict[str, Any]:
    """What a page shows as Python, from top to bottom; what is marked `py` is another library's and is not run."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{page}, block {number}", "exec"), names)
    return names


class Small:
    """Stands where a page says `RecommenderConfig`: learns a catalog in seconds, with the settings of the page."""

    def __init__(self, tiny: Path) -> None:
        self.tiny = tiny

    def __call__(self, **changes: Any) -> RecommenderConfig:
        short = BaseTrainingConfig(steps=4, batch_users=16, validate_every=2)
        return config_for(self.tiny, **{"training": short, "adaptation": None, **changes})

    def demo(self) -> RecommenderConfig:
        return self(domain="ecommerce")


@pytest.fixture
def small(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vars(recllm), "RecommenderConfig", Small(tiny))


@pytest.fixture
def at_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    if "RECLLM_DATA" not in os.environ:
        pytest.skip("RECLLM_DATA does not name the folder with the catalogs of these pages")
    monkeypatch.chdir(os.environ["RECLLM_DATA"])


@pytest.mark.usefixtures("small")
def test_coming_from_elsewhere_runs(toy: ToyShop) -> None:
    names = run_page("coming-from.md", shop_of(toy))
    assert "mia" in names["rec"].user_ids
    assert "new" in names["rec"].catalog.item_ids


def test_the_page_for_many_users_runs(
    tiny: Path, toy: ToyShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    short = BaseTrainingConfig(steps=4, batch_users=16, validate_every=2)
    rec = recllm.Recommender(config_for(tiny, training=short, adaptation=None)).fit(toy.catalog, toy.events)
    Path("interactions.csv.gz").write_bytes(gzip.compress(toy.events.frame.write_csv().encode()))
    names = run_page("scale.md", {"rec": rec, "catalog": toy.catalog})
    said = capsys.readouterr().out
    assert said.startswith("80 users, 400 rows in 4 files, 0 of them were there\n")
    assert said.endswith("Counts(80 users, 800 events, 48 items)\n")
    assert names["lists"].columns == ["user_id", "item_id", "rank", "score", "title"]


@pytest.mark.slow
@pytest.mark.usefixtures("small", "at_the_data")
def test_the_page_for_communities_runs() -> None:
    names = run_page("for-communities.md", {})
    assert len(names["recs"]) == 10
    assert max(Counter(names["authors"]).values()) <= 2
    assert "beer:new" in names["rec"].catalog.item_ids


@pytest.mark.usefixtures("small", "at_the_data")
def test_the_page_for_funds_runs() -> None:
    names = run_page("for-funds.md", {})
    assert names["most"]["careful"] <= 2
    assert names["most"]["bold"] <= 6
    assert all("Not financial advice." in row.explanation for row in names["recs"])


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_the_page_for_shops_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog, events = recllm.load_demo()
    monkeypatch.setitem(vars(recllm), "load_demo", lambda: (catalog, events.of_users(events.user_ids[:200])))
    names = run_page("for-shops.md", {})
    recs, catalog = names["recs"], names["rec"].catalog
    items = [row.item_id for row in recs]
    assert items[0] == "r3048"
    assert names["tea"] not in items
    assert all(catalog.item(row)["median_price"] <= 5 for row in catalog.rows(items))
    assert "mia" not in names["rec"].user_ids


@pytest.mark.slow
@pytest.mark.usefixtures("small", "at_the_data")
@pytest.mark.filterwarnings("ignore:the items are written in Chinese")
def test_the_page_for_courses_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    everybody = recllm.Interactions.read("mooccube-2k/interactions.csv.gz")
    monkeypatch.setattr(recllm.Interactions, "read", lambda path: everybody.of_users(everybody.user_ids[:150]))
    names = run_page("for-courses.md", {})
    path = [row.item_id for row in names["path"]]
    assert path == [names["physics"], names["electrodynamics"], names["circuits"]]
    assert len(names["ahead"]) == 3


@pytest.mark.usefixtures("small")
def test_the_page_of_lists_runs(toy: ToyShop) -> None:
    names = run_page("lists.md", shop_of(toy))
    recs, rec = names["recs"], names["rec"]
    kinds = [rec.catalog.item(row)["categories"][0] for row in rec.catalog.rows([row.item_id for row in recs])]
    assert max(Counter(kinds).values()) <= 2
    assert next(iter(recs)).item_id == "i7"
    assert names["stars"].shape == (1, 2)
    assert np.isfinite(names["stars"]).all()


@pytest.mark.usefixtures("small")
def test_the_page_of_ratings_runs(toy: ToyShop) -> None:
    users = list(toy.favourite)
    profiles = [{"user_id": user, "city": ("Chur", "Bern")[row % 2]} for row, user in enumerate(users)]
    names = run_page("ratings.md", {**shop_of(toy), "profiles": profiles})
    assert "zoe" in names["rec"].model.channels.people
    assert names["rec"].model.ratings is not None


@pytest.mark.usefixtures("small")
def test_the_page_of_privacy_runs(toy: ToyShop) -> None:
    rec = run_page("privacy.md", shop_of(toy))["rec"]
    assert not rec.user_ids
    assert rec.counts.is_possible


def shop_of(toy: ToyShop) -> dict[str, Any]:
    """Its items and events as frames, with a price, a series and ratings."""
    kinds = [[DEPARTMENTS[row]] for row in toy.department]
    columns = {
        "price": [5 + row % 20 for row in range(len(kinds))],
        "series": [f"s{row // 2}" for row in range(len(kinds))],
    }
    events = toy.events.to_pandas()
    return {
        "items": toy.catalog.to_pandas().assign(categories=kinds, **columns),
        "events": events.assign(rating=1 + events.index % 5),
    }
