"""Whatever is typed, a command answers with its result, or with one sentence and an exit code; never a traceback."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import recllm
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.cli.command_line import refuses, run, told
from tests.small import config_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def place(tiny: Path, toy: ToyShop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with good files, bad files, and a small model."""
    folder = tmp_path_factory.mktemp("place")
    Recommender.from_catalog(toy.catalog, config=config_for(tiny)).save(folder / "model")
    toy.catalog.frame.select("item_id", "title").write_csv(folder / "items.csv")
    toy.events.frame.head(40).select("user_id", "item_id", "timestamp").write_csv(folder / "events.csv")
    (folder / "folder").mkdir()
    (folder / "folder" / "thesis.tex").touch()
    (folder / "empty.csv").touch()
    (folder / "binary.csv").write_bytes(os.urandom(3000))
    (folder / "header.csv").write_text("user_id,item_id,timestamp\n")
    (folder / "other.csv").write_text("a,b,c\n1,2,3\n")
    (folder / "bad.toml").write_text("steps = 'many'")
    (folder / "stranger.csv").write_text("user_id,item_id,timestamp\nzoe,nowhere,1600000000\n")
    (folder / "list.json").write_text("[1, 2]")
    return folder


def assert_one_sentence(result: Any, told: str = "") -> None:
    refuses(result, told, code=2 if result.exit_code == 2 else 1)


FIT = ("fit", "--out", "out")
ASK = ("recommend", "--model", "model")
WHY = ("explain", "--model", "model")
SCORE = ("score", "--model", "model")
ADAPT = ("adapt", "--model", "model", "--out", "out")
UPDATE = ("update", "--model", "model", "--out", "out")
EXPORT = ("export", "--model", "model", "--user", "u1", "--out", "out.csv")
GOOD = ("--items", "items.csv", "--events", "events.csv")
BAD_FILES = ["missing.csv", "folder", "empty.csv", "binary.csv", "header.csv", "other.csv", "", "\udcff.csv"]


@pytest.mark.parametrize("bad", BAD_FILES)
@pytest.mark.parametrize(
    "command",
    [
        ("validate", "--items", "{}"),
        ("validate", "--events", "{}"),
        ("validate", "--items", "items.csv", "--events", "{}"),
        ("validate", "--items", "{}", "--events", "events.csv"),
        (*FIT, "--items", "{}", "--events", "events.csv"),
        (*FIT, "--items", "items.csv", "--events", "{}"),
        ("evaluate", "--items", "{}", "--events", "events.csv"),
        ("evaluate", "--items", "items.csv", "--events", "{}"),
        (*ASK, "--events", "{}"),
        (*WHY, "--events", "{}"),
        (*ASK, "--user", "u1", "--candidates", "{}"),
        (*ASK, "--user", "u1", "--adapters", "{}"),
        (*SCORE, "--events", "{}"),
        (*SCORE, "--user", "u1", "--items", "{}"),
        (*ADAPT, "--events", "{}"),
        (*ADAPT, "--events", "events.csv", "--adapters", "{}"),
        (*UPDATE, "--events", "{}"),
        (*UPDATE, "--items", "{}"),
        (*EXPORT, "--events", "{}"),
        ("verify-explanation", "{}", "--model", "model"),
    ],
    ids=" ".join,
)
def test_a_bad_file(place: Path, monkeypatch: pytest.MonkeyPatch, command, bad: str) -> None:
    monkeypatch.chdir(place)
    assert_one_sentence(run(*(part.format(bad) for part in command), "--json"))
    assert not list(place.glob("out*"))


@pytest.mark.parametrize("bad", ["missing", "folder", "items.csv", "empty.csv", "."])
@pytest.mark.parametrize(
    "command",
    [
        ("recommend", "--user", "u1"),
        ("explain", "--user", "u1"),
        ("explain", "--global"),
        ("score", "--user", "u1"),
        ("search", "garden"),
        ("similar", "i1"),
        ("adapt", "--user", "u1", "--out", "out"),
        ("update", "--events", "events.csv"),
        ("forget", "u1"),
        ("export", "--user", "u1", "--out", "out.csv"),
        ("verify-explanation", "list.json"),
        ("evaluate", *GOOD),
    ],
    ids=" ".join,
)
def test_a_wrong_model_folder(place: Path, monkeypatch: pytest.MonkeyPatch, command, bad: str) -> None:
    monkeypatch.chdir(place)
    assert_one_sentence(run(*command, "--model", bad), bad if bad != "." else "")
    assert not list(place.glob("out*"))


WRONG: list[tuple[tuple[str, ...], str]] = [
    (("validate",), "there is nothing to read"),
    ((*FIT, *GOOD, "--budget", "soon"), "is not a time"),
    ((*FIT, *GOOD, "--budget", "0s"), "is not a time"),
    ((*FIT, *GOOD, "--config", "missing.toml"), "cannot read the config"),
    ((*FIT, *GOOD, "--config", "folder"), "cannot read the config"),
    ((*FIT, *GOOD, "--config", "bad.toml"), "unknown key 'steps'"),
    ((*FIT, *GOOD, "--config", "binary.csv"), "binary.csv"),
    ((*FIT, *GOOD, "--seed", "x"), "seed"),
    ((*FIT, *GOOD, "--columns", "user_id="), "--columns"),
    ((*FIT, *GOOD, "--columns", "user_id=a,b"), "--columns"),
    ((*FIT, *GOOD, "--columns", "user_id=a,user_id=b"), "each name once"),
    ((*FIT, *GOOD, "--columns", ","), "--columns"),
    ((*FIT, *GOOD, "--columns", "user_id=nowhere"), "nowhere"),
    ((*FIT, *GOOD, "--item-columns", "item_id=nowhere"), "nowhere"),
    ((*FIT, *GOOD, "--max-bytes", "much"), "is not a size"),
    ((*FIT, *GOOD, "--max-bytes", "0"), "is not a size"),
    ((*FIT, *GOOD, "--encoding", "klingon"), "klingon"),
    ((*FIT, "--items", "items.csv", "--events", "stranger.csv"), "nowhere"),
    ((*ASK, "--user", "u1", "-n", "0"), "-n"),
    ((*ASK, "--user", "u1", "-n", "2.5"), "-n"),
    ((*ASK, "--user", "u1", "--wish", "Garden"), "is no wish"),
    ((*ASK, "--user", "u1", "--wish", "more of nothing of the kind"), "no item has"),
    ((*ASK, "--user", ""), ""),
    ((*ASK, "--events", "events.csv", "--user", "nobody"), "no events of such a user"),
    (ASK, "nobody to recommend to"),
    ((*ASK, "--user", "u1", "--filter", "price"), "is no filter"),
    ((*ASK, "--user", "u1", "--filter", "=3"), "is no filter"),
    ((*ASK, "--user", "u1", "--filter", "colour=red"), "'colour'"),
    ((*ASK, "--user", "u1", "--cap", "categories"), "--cap 'categories' is no pair; write for example"),
    ((*ASK, "--user", "u1", "--cap", "categories=two"), "is no pair"),
    ((*ASK, "--user", "u1", "--cap", "colour=1"), "'colour'"),
    ((*ASK, "--user", "u1", "--boost", "=1"), "is no pair"),
    ((*ASK, "--user", "u1", "--ceiling", "price="), "is no pair"),
    ((*ASK, "--user", "u1", "--by", "likes"), "--by"),
    ((*ASK, "--user", "u1", "--diversity", "2"), "--diversity"),
    (SCORE, "nobody"),
    ((*SCORE, "--user", "u1", "--item", ""), ""),
    (("search", "--model", "model"), "argument"),
    (("search", "--model", "model", " "), "the search text is empty"),
    (("search", "--model", "model", "garden", "-n", "0"), "-n"),
    (("similar", "--model", "model"), "argument"),
    (("similar", "--model", "model", "i1", "nothing"), "'nothing'"),
    (ADAPT, "nobody"),
    ((*ADAPT, "--user", "u1"), "no adaptation"),
    ((*ADAPT, "--user", "u1", "--steps", "-1"), "--steps"),
    (UPDATE, "nothing to take in"),
    ((*UPDATE, "--items", "items.csv", "--adapt", "shop"), "nothing to learn from"),
    (("forget", "--model", "model"), "who shall be forgotten"),
    (("forget", "--model", "model", "nobody", "--out", "out"), "'nobody'"),
    (("export", "--model", "model"), "nothing to write"),
    (("export", "--model", "model", "--out", "out.csv"), "no users are remembered"),
    (("export", "--model", "model", "--out", "out.xls"), "--csv"),
    ((*EXPORT, "--csv", "--parquet"), "--csv"),
    ((*EXPORT, "--filter", "colour=red"), "'colour'"),
    (("export", "--model", "model", "--text-adapter", "out"), "frozen"),
    (("models", "missing"), "missing"),
    (("models", "items.csv"), "items.csv"),
    ((*WHY, "--user", "u1", "-n", "0"), "-n"),
    ((*WHY, "--user", "u1", "--item", "nothing"), "'nothing'"),
    ((*WHY, "--user", "u1", "--level", "L9"), "L9"),
    ((*WHY, "--user", "u1", "--generator", "http://example.com/v1#m"), "example.com"),
    ((*WHY, "--global", "-n", "0"), "-n"),
    (("verify-explanation", "list.json", "--model", "model"), ""),
    (("evaluate", *GOOD, "--shots", "many"), "--shots"),
    (("evaluate", *GOOD, "--shots", "-1"), ""),
    (("evaluate", *GOOD, "--seeds", ""), "--seeds"),
    (("evaluate", *GOOD, "--folds", "0"), "--folds"),
    (("evaluate", *GOOD, "--baselines", "magic"), "magic"),
    (("evaluate", *GOOD, "--protocol", "magic"), "magic"),
    (("evaluate", *GOOD, "--sparsity", "2"), ""),
    (("evaluate", *GOOD, "--protocol", "time", "--cut", "2"), ""),
    (("evaluate", *GOOD, "--test-users", "binary.csv"), "binary.csv"),
    (("evaluate", *GOOD, "--test-users", "missing.txt"), "missing.txt"),
    (("evaluate", *GOOD, "--budget", "soon"), "is not a time"),
    (("evaluate", *GOOD, "--save-splits", "items.csv/x"), "items.csv"),
    (("evaluate", *GOOD, "--cache", "items.csv/x"), "items.csv"),
    (("demo", "--budget", "soon"), "is not a time"),
    (("demo", "--out", "folder"), "folder"),
]


@pytest.mark.parametrize(("command", "told"), WRONG, ids=[" ".join(command) for command, _ in WRONG])
def test_a_wrong_option(place: Path, monkeypatch: pytest.MonkeyPatch, command, told: str) -> None:
    monkeypatch.chdir(place)
    assert_one_sentence(run(*command), told)
    assert not list(place.glob("out*"))


@pytest.mark.parametrize("out", ["folder", "items.csv", "items.csv/model", "/proc/model", "n" * 300])
@pytest.mark.parametrize("command", [("fit", *GOOD), ("demo",)], ids=lambda command: command[0])
def test_a_place_that_cannot_be_written_is_found_out_before_anything_is_read(
    place: Path, monkeypatch: pytest.MonkeyPatch, command, out: str
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(recllm.Catalog, "read", lambda *_, **__: pytest.fail("the catalog was read"))
    assert_one_sentence(run(*command, "--out", out), "cannot save to")


@pytest.mark.parametrize("out", ["folder", "items.csv", "/proc/model"])
@pytest.mark.parametrize(
    "command", [("update", "--events", "events.csv"), ("forget", "u1")], ids=lambda command: command[0]
)
def test_so_is_a_changed_model(place: Path, monkeypatch: pytest.MonkeyPatch, command, out: str) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(Recommender, "load", lambda *_: pytest.fail("the model was read"))
    assert_one_sentence(run(*command, "--model", "model", "--out", out), "cannot save to")


@pytest.mark.parametrize("out", ["folder", "items.csv/x.csv", "/proc/x.csv"])
@pytest.mark.parametrize("command", [("adapt",), ("export", "--csv")], ids=" ".join)
def test_so_is_a_file(place: Path, monkeypatch: pytest.MonkeyPatch, command, out: str) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr(Recommender, "load", lambda *_: pytest.fail("the model was read"))
    assert_one_sentence(run(*command, "--model", "model", "--user", "u1", "--out", out), "cannot write")


@pytest.mark.parametrize("html", ["folder", "items.csv/page.html", "/proc/page.html"])
def test_so_is_a_page(place: Path, monkeypatch: pytest.MonkeyPatch, html: str) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(place)
    monkeypatch.setattr(recllm.Catalog, "read", lambda *_, **__: pytest.fail("the catalog was read"))
    assert_one_sentence(run("evaluate", *GOOD, "--html", html), "cannot write")


# --- what is good ------------------------------------------------------------------------------------------------


def test_a_catalog_alone_and_events_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert "items.csv" in run("validate", "--items", "items.csv").stdout
    assert "events.csv: 40 rows read" in run("validate", "--events", "events.csv").stdout
    assert list(told("validate", "--items", "items.csv")) == ["items"]
    assert list(told("validate", "--events", "events.csv")) == ["events"]


def test_columns_by_name(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    (place / "odd.csv").write_text("wer,was,egal\nu1,i1,3\nu2,i2,4\n")
    events = told("validate", "--events", "odd.csv", "--columns", "user_id=wer, item_id = was")["events"]
    assert (events["kept"], events["columns"]["user_id"]) == (2, "wer")
    items = told("validate", "--items", "odd.csv", "--item-columns", "item_id=was,title=wer")["items"]
    assert items["columns"] == {"item_id": "was", "title": "wer"}


def test_warnings_are_notes_on_the_standard_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)

    def warning(self: Any, *args: Any, **kwargs: Any) -> Any:
        warnings.warn("something\n to know", UserWarning, stacklevel=2)
        return recllm.Recommendations(["u1"], ["i1"], [1], [float("nan")], title=["\ud800"])

    monkeypatch.setattr(Recommender, "recommend", warning)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = run(*ASK, "--user", "u1", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["score"] is None
    assert "Note: something to know\n" in result.stderr
    assert "no events of user 'u1' are remembered" in result.stderr


def real(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", "from recllm.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=environment)


def test_a_terminal_that_lacks_a_character_stops_nothing(place: Path) -> None:
    (place / "umlaut.csv").write_text("item_id,title,grö\xdfe\n1,a,2\n", encoding="utf-8")
    done = real("validate", "--items", "umlaut.csv", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(real("validate", "--items", "umlaut.csv", "--json", cwd=place).stdout)["items"]["kept"] == 1


@pytest.fixture(autouse=True)
def _no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may come as far as learning."""
    monkeypatch.setattr("recllm.model.fit.stages.fit_stages", lambda _: pytest.fail("training began"))
