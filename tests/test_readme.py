"""The Python in the README runs as it stands, on files like those it speaks of."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

import recllm
from recllm.testing import ScorerContract, ToyShop

README = Path(__file__).resolve().parent.parent / "README.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.slow
def test_the_twenty_lines_run(
    toy: ToyShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = blocks()[0]
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
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
    exec(compile(blocks()[2], str(README), "exec"), names)
    shown = capsys.readouterr().out
    assert "PASS" in shown
    assert "FAIL" not in shown
    assert "the ranking weighs" in shown


def test_the_scorer_of_ones_own_runs(
    toy: ToyShop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the toy shop in place of the shipped one, where titles name the departments."""
    code = blocks()[1]
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
        exec(compile(blocks()[1].partition("catalog, events =")[0], str(README), "exec"), names)
        return names["SameWords"]()
