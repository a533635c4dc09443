"""The commands that read and learn: what they pass on, what they print, and how they fail."""

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import recllm
from recllm.recommender import Recommender
from recllm.terminal import in_one_sentence
from tests.cli.command_line import refuses, run, told
from tests.cli.conftest import Learned
from tests.workers import Here

DATA = ("--items", "items.csv", "--events", "events.csv")
FIT = ("fit", *DATA)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    items = "item_id,title\n1,lantern [small]\n2,cake stand\n3,\x1b[31mred bag\n1,again\n"
    (tmp_path / "items.csv").write_text(items, encoding="utf-8")
    events = "user_id,item_id,timestamp\nann,1,100\nann,2,200\nbob,2,300\nbob,99,400\n,1,500\n"
    (tmp_path / "events.csv").write_text(events, encoding="utf-8")
    return tmp_path


@pytest.fixture
def fitted(here: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """`fit` comes to what was learned once, without learning again; the options it was called with."""
    calls: list[Any] = []

    def fit(
        self: Recommender, catalog: Any, events: Any, *, options: recllm.TrainOptions, prompts: Any = None, users: Any
    ) -> Recommender:
        assert users is None, "nobody gave profiles"
        calls.append(options)
        for done, total in ((0, 2), (2, 2)):
            options.progress("encode items", done, total)
        options.progress("train", 1, 10, note="loss 3.2")
        self._state = Recommender.load("model")._state
        if self.config.finetune == "lora":
            self.report.stopped["fine-tuning"] = "kept frozen: text alone says more"
            self.report.notes.append("few events")
        return self

    monkeypatch.setattr(Recommender, "fit", fit)
    return calls


# --- validate ----------------------------------------------------------------------------------------------------


def test_validate_counts_what_is_dropped(shop) -> None:
    result = run("validate", *DATA)
    assert result.exit_code == 0
    assert "items.csv: 4 rows read, 3 kept" in result.stdout
    assert "events.csv: 5 rows read, 3 kept" in result.stdout
    assert "not in the catalog" in result.stdout
    reports = told("validate", *DATA)
    assert reports["items"]["dropped"] == {"duplicate_item": 1}
    assert reports["events"]["dropped"] == {"missing_user_id": 1, "unknown_item": 1}


# --- fit ---------------------------------------------------------------------------------------------------------


def test_fit_learns_and_saves_a_model(learned: Learned) -> None:
    facts, folder = learned.fit, learned.folder / "model"
    assert (facts["model"], facts["bytes"]) == ("model", sum(path.stat().st_size for path in folder.iterdir()))
    assert (facts["items"]["kept"], facts["events"]["kept"]) == (48, 800)
    assert facts["card"] == (folder / "README.md").read_text(encoding="utf-8")
    assert facts["seconds"] > 0
    rec = Recommender.load(folder)
    assert (len(rec.catalog), len(rec.user_ids)) == (48, 80)
    assert rec.config.training.steps == 40, "the settings are those of the file"
    assert "base steps" in rec.report.counts or rec.report.curves, "something was trained"


def test_fit_tells_what_it_does_and_did(fitted: list[Any], here: Path) -> None:
    result = run(*FIT, "--out", "out", "--budget", "10m", "--seed", "7", "--device", "cpu", "--checkpoint", "kept")
    assert result.exit_code == 0, result.output
    (options,) = fitted
    assert (options.seed, options.device, options.budget, options.checkpoint) == (7, "cpu", "10m", Path("kept"))
    assert (here / "out" / "manifest.json").exists()
    assert result.stdout.startswith("# A recllm recommender")
    assert "## Made from" not in result.stdout
    assert "saved to out" in result.stdout
    assert "800 rows read" in result.stderr
    assert [line.split("] ")[1] for line in result.stderr.splitlines() if " s] " in line] == ["encode items", "train"]
    assert "Text encoder" not in result.stdout


def test_fit_may_have_workers(fitted: list[Any], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    addresses: list[str] = []
    monkeypatch.setattr("recllm.scale.executor.LocalExecutor", lambda workers: addresses.append(workers) or Here())
    assert run(*FIT, "--out", "out", "--executor", "local:3", "--trainers", "2").exit_code == 0
    assert addresses == [3]
    assert isinstance(fitted[0].executor, Here)
    assert fitted[0].trainers == 2
    refuses(run(*FIT, "--out", "out", "--trainers", "2"), "cannot train together")
    refuses(run(*FIT, "--out", "out", "--executor", "nowhere"), "is no place to work")


def test_fit_says_what_became_of_fine_tuning(fitted: list[Any]) -> None:
    result = run(*FIT, "--out", "new", "--finetune")
    assert "\n\nText encoder kept frozen: text alone says more.\n\nNote: few events\n\nLearned" in result.stdout
    facts = told(*FIT, "--out", "new", "--finetune")
    assert (facts["finetuning"], facts["notes"]) == ("kept frozen: text alone says more", ["few events"])


def test_fit_refuses_before_learning(fitted: list[Any], here: Path) -> None:
    (here / "thesis").mkdir()
    (here / "thesis" / "chapter.tex").touch()
    refuses(run(*FIT, "--out", "thesis"), "cannot save to thesis")
    (here / "recllm.toml").write_text("dept = 2")
    refuses(run(*FIT, "--out", "out", "--config", "recllm.toml"), "unknown key 'dept'")
    assert fitted == []


@pytest.mark.parametrize("missing", ["items.csv", "events.csv"])
def test_a_missing_file_is_one_sentence(shop: Path, missing: str) -> None:
    (shop / missing).unlink()
    refuses(run(*FIT, "--out", "out"), missing)
    refuses(run("validate", *DATA), missing)
    assert not (shop / "out").exists()


@pytest.mark.parametrize(
    ("method", "error", "code", "sentence"),
    [
        ("save", OSError(28, "No space left on device", "out/x"), 1, "Error: out/x: No space left on device\n"),
        ("fit", KeyboardInterrupt(), 130, "Stopped.\n"),
    ],
)
def test_what_stops_a_fit_is_one_line(
    fitted: list[Any],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    error: BaseException,
    code: int,
    sentence,
) -> None:
    def stops(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(Recommender, method, stops)
    result = run(*FIT, "--out", "out", "--json")
    assert (result.exit_code, result.stderr) == (code, sentence)
    assert not (here / "out").exists()


def test_a_bug_shows_itself(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recommender, "fit", lambda *_, **__: [][0])
    assert isinstance(run(*FIT, "--out", "out").exception, IndexError)


# --- evaluate ----------------------------------------------------------------------------------------------------


def test_evaluate_measures_a_config_beside_a_baseline(here: Path) -> None:
    config = recllm.RecommenderConfig.read("recllm.toml")
    quick = {"training": replace(config.training, steps=20), "ranking": replace(config.ranking, folds=2)}
    replace(config, adaptation=None, **quick).write("quick.toml")
    asked = ("--shots", "0,3", "--baselines", "popularity", "--config", "quick.toml", "--save-splits", "splits")
    report = told("evaluate", *DATA, *asked)
    figures = {(row["method"], row["shots"]): row["value"] for row in report["rows"] if row["metric"] == "NDCG@10"}
    assert {shots for _, shots in figures} == {0, 3}, figures
    best = max(value for (method, shots), value in figures.items() if method != "popularity" and shots == 3)
    assert best > 1.5 * figures["popularity", 3], "whoever keeps to one department is known after three events"
    assert any((here / "splits").rglob("*"))


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What `recllm.evaluate` is called with; a real report takes minutes with every option."""
    calls: list[dict[str, Any]] = []

    def evaluate(given: Any, catalog: Any, events: Any, **options: Any) -> Any:
        options["options"].progress("evaluate: popularity", 1, 3)
        calls.append({"given": given, "items": len(catalog), "events": len(events), **options})
        page = SimpleNamespace(to_dict=lambda: {"figures": []}, to_html=lambda path: path.write_text("<title>page"))
        page.__rich__ = lambda: "the table"
        return page

    monkeypatch.setitem(vars(recllm), "evaluate", evaluate)
    return calls


def test_evaluate_passes_on_what_was_asked(evaluated, shop, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["anything", "evaluate", "--items", "my items.csv"])
    (shop / "asked.txt").write_text("ann\nbob\n")
    result = run(
        *("evaluate", *DATA, "--shots", "0,5", "--seeds", "1,2", "--cut", "0.7", "--rankings", "lists"),
        *("--baselines", "EASE, item-kNN", "--square", "--sparsity", "0.5,1", "--test-users", "asked.txt"),
        *("--protocol", "early", "--folds", "2", "--budget", "5m", "--cache", "kept"),
    )
    assert result.exit_code == 0, result.output
    assert "the table" in result.stdout
    (call,) = evaluated
    assert isinstance(call["given"], recllm.RecommenderConfig)
    assert (call["shots"], call["seeds"], call["sparsity"]) == ([0, 5], [1, 2], [0.5, 1.0])
    assert (call["baselines"], call["square"], call["protocol"]) == (["EASE", "item-kNN"], True, "early")
    assert (call["test_users"], call["cache"], call["save_splits"]) == (["ann", "bob"], Path("kept"), None)
    assert (call["folds"], call["cut"], call["rankings"]) == (2, 0.7, Path("lists"))
    assert call["options"].budget == "5m"
    assert call["command"] == "recllm evaluate --items 'my items.csv'"


def test_evaluate_writes_json_or_a_page(evaluated, shop) -> None:
    pytest.importorskip("matplotlib")
    assert told("evaluate", *DATA, "--baselines", "none", "--html", "page.html") == {"figures": []}
    assert "page" in (shop / "page.html").read_text()
    assert evaluated[0]["baselines"] is None
    run("evaluate", *DATA)
    assert evaluated[1]["baselines"] == "all"


# --- all commands ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["recommend"], ["fit", "--itms", "x"], ["recommend", "--model", "m", "-n", "0"]])
def test_wrong_usage_is_exit_2(arguments) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_warning_is_one_line(capsys) -> None:
    @in_one_sentence
    def command() -> None:
        warnings.warn("nobody is\nremembered", stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        command()
    assert capsys.readouterr().err == "Note: nobody is remembered\n"


def test_json_has_no_numbers_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    from recllm.cli.app import write_json

    write_json({"a": float("nan"), "b": (1.5, float("inf"))})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1.5, None]}
