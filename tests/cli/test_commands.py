"""Every command that asks a model, on one that `recllm fit` has made: what it answers is what the library answers."""

import json
import re
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import recllm
from recllm.cli import app
from recllm.cli.app import prompts_app
from recllm.recommender import Recommender
from tests.cli.command_line import NEW, refuses, run, told

ROOT = Path(__file__).resolve().parents[2]
USERS = ("--user", "u0", "--user", "u1")
ASK = ("recommend", "--model", "model")


# --- recommend ---------------------------------------------------------------------------------------------------


def test_recommend_answers_as_the_library(rec: Recommender) -> None:
    assert told(*ASK, *USERS, "-n", "3") == rec.recommend(["u0", "u1"], n=3).to_dicts()
    given = told(*ASK, "--events", "new.csv", "--no-adapt", "--explain", "-n", "2", "--without", "i1")
    log = recllm.Interactions.read("new.csv")
    recs = rec.recommend(log, n=2, adapt=False, explain=True, without=["i1"])
    assert given == json.loads(recs.to_json())
    assert all(row["explanation"] and row["proof"] for row in given)
    assert {row["user_id"] for row in told(*ASK, "--events", "new.csv", "--user", "mia")} == {"mia"}
    steered = told(*ASK, *USERS, "--wish", "never of garden")
    assert steered == rec.recommend(["u0", "u1"], wishes=["never of garden"]).to_dicts()


def test_recommend_keeps_rules(rec: Recommender, here: Path) -> None:
    typed = ("--cap", "categories=2", "--pin", "i40", "--pin", "i7", "--boost", "toys=0.5", "--group", "title")
    typed = (*typed, "--diversity", "0.3", "--diversity-by", "dpp", "--calibrated", "0.5", "--by", "similarity")
    wanted = rec.recommend(
        ["u0", "u1"],
        caps={"categories": 2},
        pinned=["i40", "i7"],
        boosted={"toys": 0.5},
        groups="title",
        diversity=0.3,
        diversity_by="dpp",
        calibrated=0.5,
        by="similarity",
    )
    assert told(*ASK, *USERS, *typed) == wanted.to_dicts()


def test_recommend_chooses_among_items(rec: Recommender, here: Path) -> None:
    def items(*options: str) -> set[str]:
        return {row["item_id"] for row in told(*ASK, "--user", "u0", "-n", "48", *options)}

    price = dict(zip(rec.catalog.item_ids, rec.catalog.frame["price"].to_list(), strict=True))
    seen = {item for user, item, *_ in recllm.Interactions.read("events.csv").frame.rows() if user == "u0"}
    everything, unseen = set(price), set(price) - seen
    assert items() == unseen
    assert items("--include-seen") == items("--seen") == everything
    assert items("--filter", "price=..3") == {item for item in unseen if price[item] <= 3}
    assert items("--filter", "price=2.5..3.5") == {item for item in unseen if 2.5 <= price[item] <= 3.5}
    assert items("--filter", "price=11..", "--filter", "price=0.5") == {
        item for item in unseen if price[item] >= 11 or price[item] == 0.5
    }
    garden = set(rec.catalog.frame.filter(pl.col("categories").list.contains("garden"))["item_id"])
    assert items("--filter", "categories=garden") == garden & unseen
    assert items("--filter", "categories=garden", "--filter", "price=..3") == {
        item for item in garden & unseen if price[item] <= 3
    }
    assert "i0" not in items("--exclude", "i0", "--seen")
    assert items("--ceiling", "price=3") == {item for item in unseen if price[item] <= 3}
    (here / "some.csv").write_text("item_id\ni0\ni40\ni47\n")
    assert items("--candidates", "some.csv", "--seen") == {"i0", "i40", "i47"}
    (here / "own.csv").write_text("user_id,item_id\nu0,i5\nu1,i6\n")
    own = told(*ASK, *USERS, "--candidates", "own.csv", "--seen")
    assert [(row["user_id"], row["item_id"]) for row in own] == [("u0", "i5"), ("u1", "i6")]
    varied = told(*ASK, "--user", "u0", "--diversity", "0.8")
    assert varied == rec.recommend(["u0"], diversity=0.8).to_dicts()


def test_recommend_prints_a_table(rec: Recommender) -> None:
    result = run(*ASK, "--user", "u0", "-n", "3", "--explain")
    assert "user u0" in result.stdout
    assert "Because of “" in " ".join(result.stdout.split())
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_titles_are_neither_markup_nor_do_they_control_the_terminal(here: Path) -> None:
    (here / "wild.csv").write_text("item_id,title\nx,garden [small]\ny,\x1b[31mgarden bag\n", encoding="utf-8")
    assert run("update", "--model", "model", "--items", "wild.csv").exit_code == 0
    shown = run("search", "--model", "model", "garden", "-n", "50").stdout
    assert "garden [small]" in shown
    assert "\x1b" not in shown


def test_recommend_says_which_events_it_cannot_use(rec: Recommender, here: Path) -> None:
    (here / "new.csv").write_text(NEW + "mia,i99,1700000003\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = run(*ASK, "--events", "new.csv", "--json")
    assert json.loads(result.stdout)
    assert "4 rows read, 3 kept" in result.stderr
    assert "not in the catalog" in result.stderr


def test_preview_shows_what_wishes_change(rec: Recommender) -> None:
    wish = ("--wish", "never of garden", "--preview")
    assert told(*ASK, "--user", "u0", *wish) == rec.preview(["u0"], ["never of garden"]).to_dicts()
    assert "leaves" in run(*ASK, "--user", "u0", *wish).stdout


# --- score, search, similar --------------------------------------------------------------------------------------


def test_score_answers_as_the_library(rec: Recommender, here: Path) -> None:
    rows = told("score", "--model", "model", *USERS, "--item", "i3", "--item", "nowhere")
    assert [(row["user_id"], row["item_id"]) for row in rows] == [
        ("u0", "i3"), ("u0", "nowhere"), ("u1", "i3"), ("u1", "nowhere")
    ]  # fmt: skip
    scores = rec.score(["u0", "u1"], ["i3"])[:, 0]
    assert np.allclose([rows[0]["score"], rows[2]["score"]], scores)
    assert rows[1]["score"] is None
    assert "not in the catalog" in run("score", "--model", "model", *USERS, "--item", "nowhere").stdout
    plain = told("score", "--model", "model", *USERS, "--item", "i3", "--no-adapt")
    assert np.allclose([row["score"] for row in plain], rec.score(["u0", "u1"], ["i3"], adapt=False)[:, 0])
    assert len(told("score", "--model", "model", "--events", "new.csv")) == 2 * 48
    (here / "own.csv").write_text("user_id,item_id\nmia,i5\nmia,i6\nu1,i6\n")
    own = told("score", "--model", "model", "--events", "new.csv", "--items", "own.csv")
    assert [(row["user_id"], row["item_id"]) for row in own] == [("mia", "i5"), ("mia", "i6"), ("u1", "i6")]
    refuses(run("score", "--model", "model", *USERS, "--item", "i1", "--items", "own.csv"), "--item and --items")


def test_search_and_similar_answer_as_the_library(rec: Recommender) -> None:
    assert told("search", "--model", "model", "garden thing", "-n", "4") == rec.search("garden thing", n=4).to_dicts()
    found = told("similar", "--model", "model", "i0", "i20", "-n", "2")
    assert found == rec.similar_items(["i0", "i20"], n=2).to_dicts()
    assert "“garden thing”" in run("search", "--model", "model", "garden thing").stdout
    assert "like item i20" in run("similar", "--model", "model", "i20").stdout
    basket = told("similar", "--model", "model", "i0", "i1", "--by", "together", "--basket")
    assert basket == rec.similar_items(["i0", "i1"], by="together", basket=True).to_dicts()


# --- explain -----------------------------------------------------------------------------------------------------


def test_explain_and_verify(rec: Recommender, here: Path) -> None:
    rows = told("explain", "--model", "model", "--user", "u0", "-n", "3")
    assert [row["item_id"] for row in rows] == [row.item_id for row in rec.recommend(["u0"], n=3)]
    (here / "reasons.json").write_text(json.dumps(rows))
    assert all(one["passed"] for one in told("verify-explanation", "reasons.json", "--model", "model"))
    rows[0]["explanation"] = "Because."
    (here / "reasons.json").write_text(json.dumps(rows))
    result = run("verify-explanation", "reasons.json", "--model", "model")
    assert (result.exit_code, result.stdout.count("FAIL")) == (1, 1)
    (one,) = told("explain", "--model", "model", "--user", "u0", "--item", "i7")
    assert one["item_id"] == "i7"
    steered = told(
        "explain", "--model", "model", "--user", "u0", "--item", "i7", "-n", "3", "--no-adapt", "--without", "i1"
    )
    wanted = rec.explain(["u0"], ["i7"], n=3, adapt=False, without=["i1"])
    assert steered == json.loads(wanted.to_json())
    assert "L0" in run("explain", "--model", "model", "--user", "u0", "--item", "i7").stdout
    assert told("explain", "--model", "model", "--global") == json.loads(json.dumps(rec.explain_ranking().to_dicts()))


# --- export ------------------------------------------------------------------------------------------------------


def same_lists(written: pl.DataFrame, wanted: recllm.Recommendations) -> None:
    """Made in other batches, so that the last bit of a score may be another."""
    frame = wanted.to_polars()
    assert written.columns == frame.columns
    assert written.drop("score").rows() == frame.drop("score").rows()
    np.testing.assert_allclose(written["score"].to_numpy(), frame["score"].to_numpy(), rtol=1e-5)


def test_export_writes_the_lists_of_all(rec: Recommender, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recllm.cli.export.USERS_AT_ONCE", 30)
    wanted = rec.recommend(rec.user_ids, n=3)
    facts = told("export", "--model", "model", "--out", "recs.csv", "--csv", "-n", "3")
    assert facts == {"lists": "recs.csv", "users": 80, "rows": 240}
    same_lists(pl.read_csv("recs.csv"), wanted)
    assert (here / "recs.csv").read_text(encoding="utf-8").splitlines()[0] == wanted.to_csv().splitlines()[0]
    told("export", "--model", "model", "--out", "asked.csv", "-n", "3", "--events", "events.csv")
    same_lists(pl.read_csv("asked.csv"), rec.recommend(recllm.Interactions.read("events.csv"), 3))
    told("export", "--model", "model", "--out", "recs.jsonl", "-n", "3")
    lines = (here / "recs.jsonl").read_text(encoding="utf-8").splitlines()
    same_lists(pl.DataFrame([json.loads(line) for line in lines]), wanted)
    told("export", "--model", "model", "--out", "recs", "--parquet", "-n", "3", "--explain")
    frame = pl.read_parquet("recs")
    assert frame.select("user_id", "item_id").rows() == wanted.to_polars().select("user_id", "item_id").rows()
    assert frame["explanation"].null_count() == 0
    told("export", "--model", "model", "--out", "one.csv", "--user", "u3", "-n", "2", "--filter", "categories=toys")
    assert pl.read_csv("one.csv")["user_id"].to_list() == ["u3", "u3"]
    assert "rows: 2" in run("export", "--model", "model", "--out", "one.csv", "--user", "u3", "-n", "2").stdout


def test_export_writes_the_text_adapter(rec: Recommender, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses(run("export", "--model", "model", "--text-adapter", "adapter"), "frozen")
    monkeypatch.setattr(Recommender, "export_text_adapter", lambda self, folder: Path(folder).mkdir())
    assert told("export", "--model", "model", "--text-adapter", "adapter") == {"text_adapter": "adapter"}
    assert (here / "adapter").is_dir()


# --- the page ----------------------------------------------------------------------------------------------------


def test_the_page_names_every_command() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    for group, form in ((app, r"^- `recllm (?!prompts )([a-z-]+)"), (prompts_app, r"`recllm prompts ([a-z-]+)")):
        commands = [command.name or command.callback.__name__ for command in group.registered_commands]  # type: ignore[union-attr]
        assert list(dict.fromkeys(re.findall(form, page, flags=re.MULTILINE))) == commands
        before = ("prompts",) if group is prompts_app else ()
        for name in commands:
            assert "--json" in run(*before, name, "--help").output
    assert len(page.splitlines()) <= 85
    for group, name, options in re.findall(r"`recllm (prompts )?([a-z-]+)([^`]*)`", page):
        known = run(*group.split(), name, "--help").output
        assert [option for option in re.findall(r"--[a-z-]+", options) if option not in known] == []


def test_version() -> None:
    assert run("--version").stdout == f"recllm {recllm.__version__}\n"
