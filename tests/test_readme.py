"""What README and docs show runs as it stands, and what they name is there."""

import gzip
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import recllm
from recllm.testing import ScorerContract, ToyShop

ROOT = Path(__file__).resolve().parent.parent
README, PAGES = ROOT / "README.md", sorted((ROOT / "docs").glob("*.md"))


def code_of(page: str) -> str:
    """The Python of a page."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    return str(code)


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    files = re.findall(r"`((?:recllm|scripts|tests|prompts|docs|adapters|\.ci)/[\w./]*)`", text)
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)
    missing = [name for name in files if not name.endswith("mine.py") and not (ROOT / name).exists()]
    assert missing == []
    assert [name for name in links if not (page.parent / name).exists()] == []


def test_pages_are_short() -> None:
    lengths = {page.name: len(page.read_text(encoding="utf-8").splitlines()) for page in (README, *PAGES)}
    assert lengths["README.md"] <= 150
    assert lengths["contributing.md"] <= 60


@pytest.mark.slow
def test_the_ten_lines_and_the_reasons_run(
    toy: ToyShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = code_of("README.md")
    assert len([line for line in code.splitlines() if line.strip()]) <= 11, "ten, and the import"
    monkeypatch.chdir(tmp_path)
    for name, frame in (
        ("items", toy.catalog.frame.select("item_id", "title")),
        ("interactions", toy.events.frame.select("user_id", "item_id", "timestamp")),
    ):
        with gzip.open(f"{name}.csv.gz", "wb") as file:
            file.write(frame.write_csv().encode())
    names: dict[str, Any] = {}
    exec(compile(code, str(README), "exec"), names)
    shown = capsys.readouterr().out
    assert "mia" in shown
    assert re.search(r"Because of “(garden|kitchen|toys|books) thing number \d+”", shown)
    assert (tmp_path / "model" / "manifest.json").is_file()
    exec(compile(code_of("docs/reasons.md"), "reasons", "exec"), names)
    shown = capsys.readouterr().out
    assert "PASS" in shown
    assert "FAIL" not in shown
    assert "the ranking weighs" in shown
    names["new_catalog"] = recllm.Catalog.from_frame(pl.DataFrame({"item_id": ["new"], "title": ["garden thing new"]}))
    exec(compile(code_of("docs/alive.md"), "alive", "exec"), names)
    assert "refit not due" in capsys.readouterr().out
    assert "mia" not in names["rec"].user_ids
    assert "new" in names["rec"].catalog.item_ids


def test_the_scorer_of_ones_own_runs(
    toy: ToyShop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the toy shop in place of the shipped one, where titles name the departments."""
    code = code_of("docs/evaluation.md")
    monkeypatch.setattr(recllm.data.interactions, "load_demo", lambda: (toy.catalog, toy.events))
    monkeypatch.setitem(vars(recllm), "load_demo", lambda: (toy.catalog, toy.events))
    names: dict[str, Any] = {}
    exec(compile(code, str(README), "exec"), names)
    shown = capsys.readouterr().out
    assert re.search(r"SameWords +[.\d]+", shown)
    assert re.search(r"SameWords (beats|loses to|and) .*item-kNN", shown)
    assert set(names["report"].to_pandas().method) == {"SameWords", "popularity", "item-kNN"}
    lines = code[code.index("    def fit") : code.index("catalog, events =")].strip().splitlines()
    assert len([line for line in lines if line.strip()]) <= 10, "the README promises a scorer of ten lines"


class TestTheScorerOfOnesOwn(ScorerContract):
    @staticmethod
    def make() -> Any:
        names: dict[str, Any] = {}
        exec(compile(code_of("docs/evaluation.md").partition("catalog, events =")[0], str(README), "exec"), names)
        return names["SameWords"]()
