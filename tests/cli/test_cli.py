"""The command line against a fake recommender: what it passes on, what it prints, and how it fails."""

import json
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

import recllm
from recllm.artifact import save_artifact
from recllm.cli import app, demo
from recllm.cli.show import _movement
from recllm.lists.results import Recommendations
from recllm.terminal import in_one_sentence

REASON = "You bought “lantern”; the model gives it 62 % of this recommendation. " * 2


@dataclass(frozen=True)
class FakeConfig:
    finetune: str = "none"

    @classmethod
    def demo(cls) -> "FakeConfig":
        return cls()

    @classmethod
    def read(cls, path: Path) -> "FakeConfig":
        raise recllm.ConfigError(f"{path.name}: unknown key 'dept'")


class FakeOptions:
    def __init__(
        self, *, device: str, budget: str | None, progress: Any, seed: int = 0, checkpoint: Path | None = None
    ) -> None:
        self.seed, self.device, self.budget, self.progress = seed, device, budget, progress
        self.checkpoint = checkpoint


class FakeRecommender:
    """Recommends the catalog in its order, backwards after adapting."""

    calls: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, config: FakeConfig | None = None) -> None:
        self.catalog: Any = None
        self.report = SimpleNamespace(stopped={}, chosen={"adapters": "used"}, notes=[])
        self.user_ids = ("ann", "bob")
        if config is not None and config.finetune == "lora":
            self.report.stopped["fine-tuning"] = "kept frozen: text alone says more"

    def fit(self, catalog: Any, events: Any, *, options: FakeOptions) -> "FakeRecommender":
        self.calls.append({"fit": vars(options), "users": events.user_ids})
        options.progress("encode items", 0, 2)
        options.progress("encode items", 2, 2)
        options.progress("train", 1, 10, note="loss 3.2")
        self.catalog = catalog
        return self

    def save(self, folder: Path) -> None:
        card = "# recllm model\n\nLearned from 3 items.\n\n## Details\n\nLong.\n"
        save_artifact(folder, tensors={}, documents={}, card=card, kind="recommender")

    @classmethod
    def load(cls, folder: Path) -> "FakeRecommender":
        if not Path(folder).is_dir():
            raise recllm.ArtifactError(f"there is no folder {folder}")
        rec = cls()
        rec.catalog = recllm.Catalog.read(folder / "items.csv")
        return rec

    def recommend(
        self,
        users: Any,
        n: int,
        *,
        adapt: bool = True,
        explain: bool = False,
        exclude_seen: bool = True,
        without: list[str] | None = None,
        wishes: list[str] | None = None,
    ) -> Any:
        asked = {"n": n, "adapt": adapt, "explain": explain, "exclude_seen": exclude_seen}
        self.calls.append({"recommend": users, **asked, "without": without, "wishes": wishes})
        user_ids = users.user_ids if isinstance(users, recllm.Interactions) else users
        rows = list(zip(self.catalog.item_ids, self.catalog.titles, strict=True))[: 2 * n]
        rows = (rows[::-1] if adapt else rows)[:n]
        columns: dict[str, list[Any]] = {"user_id": [], "item_id": [], "rank": [], "score": [], "title": []}
        for user in user_ids:
            for rank, (item, title) in enumerate(rows, 1):
                for name, value in zip(columns, (user, item, rank, 1 / rank, title), strict=True):
                    columns[name].append(value)
        reasons: dict[str, Any] = {}
        if explain:
            size = len(columns["rank"])
            reasons = {"explanation": [REASON] * size, "reason_code": ["history"] * size, "evidence": [{}] * size}
        return Recommendations(**columns, **reasons, user_ids=list(user_ids))


@pytest.fixture
def fake(monkeypatch) -> type[FakeRecommender]:
    doubles = {"Recommender": FakeRecommender, "RecommenderConfig": FakeConfig, "TrainOptions": FakeOptions}
    for name, double in doubles.items():
        monkeypatch.setitem(vars(recllm), name, double)  # not setattr: it would import the real one, and torch
    monkeypatch.setattr(FakeRecommender, "calls", [])
    return FakeRecommender


@pytest.fixture
def shop(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    items = "item_id,title\n1,lantern [small]\n2,cake stand\n3,\x1b[31mred bag\n1,again\n"
    (tmp_path / "items.csv").write_text(items, encoding="utf-8")
    events = "user_id,item_id,timestamp\nann,1,100\nann,2,200\nbob,2,300\nbob,99,400\n,1,500\n"
    (tmp_path / "events.csv").write_text(events, encoding="utf-8")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "items.csv").write_text(items, encoding="utf-8")
    return tmp_path


def run(*arguments: str) -> Any:
    # A runner of tests may say how wide its own lines are; recllm shall not believe it.
    return CliRunner(env={"COLUMNS": None}).invoke(app, arguments)


def refuses(result: Any, *parts: str, code: int = 1) -> None:
    """One line on the standard error, nothing on the other, no traceback."""
    assert result.exit_code == code
    assert result.stdout == ""
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in lines[0]


FIT = ("fit", "--items", "items.csv", "--events", "events.csv")


# --- validate ----------------------------------------------------------------------------------------------------


def test_validate_counts_what_is_dropped(shop) -> None:
    result = run("validate", "--items", "items.csv", "--events", "events.csv")
    assert result.exit_code == 0
    assert "items.csv: 4 rows read, 3 kept" in result.stdout
    assert "events.csv: 5 rows read, 3 kept" in result.stdout
    assert "not in the catalog" in result.stdout


def test_validate_json(shop) -> None:
    result = run("validate", "--items", "items.csv", "--events", "events.csv", "--json")
    reports = json.loads(result.stdout)
    assert reports["items"]["dropped"] == {"duplicate_item": 1}
    assert reports["events"]["dropped"] == {"missing_user_id": 1, "unknown_item": 1}


# --- fit ---------------------------------------------------------------------------------------------------------


def test_fit_learns_and_saves(shop, fake) -> None:
    result = run(*FIT, "--out", "out", "--budget", "10m", "--seed", "7", "--device", "cpu")
    assert result.exit_code == 0, result.output
    options = fake.calls[0]["fit"]
    assert (options["seed"], options["device"], options["budget"]) == (7, "cpu", "10m")
    assert (shop / "out" / "manifest.json").exists()
    assert "# recllm model" in result.stdout
    assert "Learned from 3 items." in result.stdout
    assert "## Details" not in result.stdout
    assert "saved to out" in result.stdout
    assert "5 rows read" in result.stderr
    assert [line.split("] ")[1] for line in result.stderr.splitlines() if " s] " in line] == ["encode items", "train"]


def test_fit_says_what_became_of_fine_tuning(shop, fake) -> None:
    result = run(*FIT, "--out", "new", "--finetune")
    assert result.exit_code == 0, result.output
    assert "Text encoder kept frozen: text alone says more." in result.stdout
    told = json.loads(run(*FIT, "--out", "new", "--finetune", "--json").stdout)
    assert told["finetuning"] == "kept frozen: text alone says more"
    assert "Text encoder" not in run(*FIT, "--out", "new").stdout


def test_fit_json_is_quiet_and_whole(shop, fake) -> None:
    result = run(*FIT, "--out", "out", "--json")
    facts = json.loads(result.stdout)
    assert result.stderr == ""
    assert facts["model"] == "out"
    assert facts["bytes"] == sum(path.stat().st_size for path in (shop / "out").iterdir())
    assert facts["events"]["kept"] == 3
    assert facts["card"].startswith("# recllm model")


def test_fit_refuses_a_full_folder_before_learning(shop, fake) -> None:
    (shop / "thesis").mkdir()
    (shop / "thesis" / "chapter.tex").touch()
    refuses(run(*FIT, "--out", "thesis"), "cannot save to thesis")
    assert fake.calls == []


def test_fit_with_a_wrong_config(shop, fake) -> None:
    (shop / "recllm.toml").touch()
    refuses(run(*FIT, "--out", "out", "--config", "recllm.toml"), "unknown key 'dept'")


@pytest.mark.parametrize("missing", ["items.csv", "events.csv"])
def test_a_missing_file_is_one_sentence(shop, fake, missing) -> None:
    (shop / missing).unlink()
    refuses(run(*FIT, "--out", "out"), missing)
    refuses(run("validate", "--items", "items.csv", "--events", "events.csv"), missing)
    assert not (shop / "out").exists()


def test_a_system_error_is_one_sentence(shop, fake, monkeypatch) -> None:
    def no_space(self, folder):
        raise OSError(28, "No space left on device", "out/x")

    monkeypatch.setattr(fake, "save", no_space)
    result = run(*FIT, "--out", "out")
    assert result.exit_code == 1
    assert "Error: out/x: No space left on device" in result.stderr


def test_ctrl_c_is_one_line_and_exit_130(shop, fake, monkeypatch) -> None:
    def interrupted(self, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(fake, "fit", interrupted)
    result = run(*FIT, "--out", "out", "--json")
    assert result.exit_code == 130
    assert result.stderr == "Stopped.\n"
    assert not (shop / "out").exists()


def test_a_bug_shows_itself(shop, fake, monkeypatch) -> None:
    def buggy(self, *args, **kwargs):
        raise IndexError("a bug")

    monkeypatch.setattr(fake, "fit", buggy)
    assert isinstance(run(*FIT, "--out", "out").exception, IndexError)


# --- recommend ---------------------------------------------------------------------------------------------------


def test_recommend_passes_everything_on(shop, fake) -> None:
    base = ("recommend", "--model", "model")
    assert run(*base, "--events", "events.csv", "-n", "2", "--no-adapt", "--explain", "--seen").exit_code == 0
    assert run(*base, "--user", "ann", "--user", "a/../b\n🎄").exit_code == 0
    assert run(*base, "--events", "events.csv", "--user", "bob").exit_code == 0
    first, second, third = fake.calls
    assert (first["n"], first["adapt"], first["explain"], first["exclude_seen"]) == (2, False, True, False)
    assert first["recommend"].user_ids == ("ann", "bob")
    assert (second["n"], second["adapt"], second["explain"], second["exclude_seen"]) == (10, True, False, True)
    assert second["recommend"] == ["ann", "a/../b\n🎄"]
    assert third["recommend"].user_ids == ("bob",)


def test_recommend_prints_a_table(shop, fake) -> None:
    result = run("recommend", "--model", "model", "--user", "ann", "-n", "3", "--explain")
    assert "user ann" in result.stdout
    assert "lantern [small]" in result.stdout, "titles are not markup"
    assert "\x1b" not in result.stdout, "nor do they control the terminal"
    assert "You bought “lantern”" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_recommend_says_which_events_it_cannot_use(shop, fake) -> None:
    result = run("recommend", "--model", "model", "--events", "events.csv", "--json")
    assert json.loads(result.stdout)
    assert "5 rows read, 3 kept" in result.stderr
    assert "not in the catalog" in result.stderr


def test_recommend_json(shop, fake) -> None:
    rows = json.loads(run("recommend", "--model", "model", "--user", "ann", "-n", "2", "--json").stdout)
    assert [(row["user_id"], row["rank"]) for row in rows] == [("ann", 1), ("ann", 2)]


def test_recommend_needs_somebody(shop, fake) -> None:
    refuses(run("recommend", "--model", "model"), "give --events FILE, --user ID, or both")


def test_recommend_without_a_model(shop, fake) -> None:
    refuses(run("recommend", "--model", "absent", "--user", "ann"), "there is no folder absent")


@pytest.mark.parametrize("arguments", [["recommend"], ["fit", "--itms", "x"], ["recommend", "--model", "m", "-n", "0"]])
def test_wrong_usage_is_exit_2(arguments) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_version_and_help() -> None:
    assert run("--version").stdout == f"recllm {recllm.__version__}\n"
    for command in ("demo", "validate", "fit", "recommend"):
        assert command in run("--help").output
        assert "--json" in run(command, "--help").output


# --- demo --------------------------------------------------------------------------------------------------------


def test_demo_shows_three_unseen_customers(fake, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("demo")
    assert result.exit_code == 0, result.output
    trained, before, *_, after = fake.calls
    assert trained["fit"]["budget"] == "3m"
    assert len(set(before["recommend"].user_ids) - set(trained["users"])) == 3
    assert not before["adapt"]
    assert after["adapt"]
    assert after["explain"]
    assert result.stdout.count("\ncustomer ") == 3
    assert result.stdout.count("First 6 of ") == 3
    assert result.stdout.count("You bought “lantern”") == 60
    marks = [line.count("✓") for line in result.stdout.splitlines() if line[:3].strip().isdigit()]
    summary = re.search(r"✓ before adapting: (\d+) of 30; after: (\d+) of 30", result.stdout)
    assert summary is not None
    assert sum(map(int, summary.groups())) == sum(marks)
    assert "was not kept" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert list(tmp_path.iterdir()) == []


def test_demo_json_and_out(fake, tmp_path) -> None:
    result = run("demo", "--json", "--out", str(tmp_path / "model"), "--budget", "90s")
    facts = json.loads(result.stdout)
    assert (tmp_path / "model" / "manifest.json").exists()
    assert facts["saved_to"] == str(tmp_path / "model")
    assert len(facts["customers"]) == 3
    for customer in facts["customers"]:
        assert 8 <= customer["n_events"] <= 40
        assert len(customer["given"]) == 6
        assert len(customer["before"]) == len(customer["after"]) == 10
        ranks = {line["item_id"]: line["rank"] for line in customer["before"]}
        for line in customer["after"]:
            assert line["rank_before"] == ranks.get(line["item_id"], line["rank_before"])
            assert line["explanation"] == REASON


def test_demo_customers_are_chosen_by_hash_and_told_little() -> None:
    catalog, events = recllm.load_demo()
    chosen = demo.hold_out(catalog, events)
    assert chosen == demo.hold_out(catalog, events)
    support = demo._support(events, chosen)
    assert support.user_ids == tuple(sorted(support.user_ids, key=[one.user_id for one in chosen].index))
    for one in chosen:
        told = support.frame.filter(support.frame["user_id"] == one.user_id)
        assert set(told["item_id"]) == set(one.given)
        assert not set(told["item_id"]) & one.later
        assert len(one.later) >= 3


@pytest.mark.parametrize(("before", "text"), [(4, "↑1"), (3, "="), (1, "↓2"), (None, "new")])
def test_movement(before, text) -> None:
    line = demo.Suggestion(rank=3, item_id="1", title="x", score=1.0, bought_later=False, rank_before=before)
    assert _movement(line) == text


class FakeReport:
    def to_dict(self) -> dict[str, Any]:
        return {"figures": []}

    def to_html(self, path: Path) -> None:
        path.write_text("<title>page</title>")

    def __str__(self) -> str:
        return "the table"

    def __rich__(self) -> str:
        return "the table"


@pytest.fixture
def evaluated(fake, monkeypatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def evaluate(given: Any, catalog: Any, events: Any, **options: Any) -> FakeReport:
        options["options"].progress("evaluate: popularity", 1, 3)
        calls.append({"given": given, "items": len(catalog), "events": len(events), **options})
        return FakeReport()

    monkeypatch.setitem(vars(recllm), "evaluate", evaluate)
    return calls


def test_evaluate_passes_on_what_was_asked(evaluated, shop, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["anything", "evaluate", "--items", "my items.csv"])
    (shop / "asked.txt").write_text("ann\nbob\n")
    result = run(
        *("evaluate", "--items", "items.csv", "--events", "events.csv", "--shots", "0,5", "--seeds", "1,2"),
        *("--baselines", "EASE, item-kNN", "--square", "--sparsity", "0.5,1", "--test-users", "asked.txt"),
        *("--protocol", "early", "--folds", "1", "--budget", "5m", "--cache", "kept"),
    )
    assert result.exit_code == 0, result.output
    assert "the table" in result.stdout
    (call,) = evaluated
    assert isinstance(call["given"], FakeConfig)
    assert (call["shots"], call["seeds"], call["sparsity"]) == ([0, 5], [1, 2], [0.5, 1.0])
    assert (call["baselines"], call["square"], call["protocol"]) == (["EASE", "item-kNN"], True, "early")
    assert (call["test_users"], call["cache"]) == (["ann", "bob"], Path("kept"))
    assert call["options"].budget == "5m"
    assert call["command"] == "recllm evaluate --items 'my items.csv'"


def test_evaluate_writes_json_or_a_page(evaluated, shop) -> None:
    base = ("evaluate", "--items", "items.csv", "--events", "events.csv")
    result = run(*base, "--json", "--baselines", "none", "--html", "page.html")
    assert json.loads(result.stdout) == {"figures": []}
    assert "page" in (shop / "page.html").read_text()
    assert evaluated[0]["baselines"] is None
    run(*base)
    assert evaluated[1]["baselines"] == "all"


def test_evaluate_refuses_what_it_cannot_read(evaluated, shop) -> None:
    base = ("evaluate", "--items", "items.csv", "--events", "events.csv")
    refuses(run(*base, "--shots", "one"), "--shots", "one", "numbers")
    refuses(run(*base, "--test-users", "missing.txt"), "missing.txt")
    refuses(run(*base, "--model", "nowhere"), "nowhere")
    refuses(run("evaluate", "--items", "no.csv", "--events", "events.csv"), "no.csv")


def test_a_warning_is_one_line(capsys) -> None:
    @in_one_sentence
    def command() -> None:
        warnings.warn("nobody is\nremembered", stacklevel=1)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        command()
    assert capsys.readouterr().err == "Note: nobody is remembered\n"
