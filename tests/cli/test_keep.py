"""Commands that keep a model up to date, and those that look at what is there."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import recllm
from recllm.data.trained import TrainedOn
from recllm.recommender import Recommender
from recllm.testing import ToyShop
from tests.cli.command_line import NEW, refuses, run, told
from tests.small import config_for

ASK = ("recommend", "--model", "model")


# --- adapt -------------------------------------------------------------------------------------------------------


def test_adapters_are_made_updated_and_used(rec: Recommender, here: Path) -> None:
    facts = told("adapt", "--model", "model", "--events", "new.csv", "--out", "adapters/", "--steps", "2")
    kept = recllm.Adapters.load("adapters", rec)
    assert (facts["users"], kept.user_ids, kept.steps) == (2, ("mia", "u1"), 2)
    assert (facts["bytes_per_user"], facts["bytes"]) == (kept.bytes_per_user, (here / "adapters").stat().st_size)
    used = run(*ASK, "--user", "mia", "--adapters", "adapters/", "--json")
    assert json.loads(used.stdout) == rec.recommend(["mia"], adapters=kept).to_dicts()
    assert "no events of user" not in used.stderr
    scores = told("score", "--model", "model", "--user", "mia", "--item", "i7", "--adapters", "adapters")
    assert np.allclose(scores[0]["score"], rec.score(["mia"], ["i7"], adapters=kept)[0, 0])
    (here / "more.csv").write_text("user_id,item_id,timestamp\nzoe,i5,1700000009\n")
    again = ("adapt", "--model", "model", "--events", "more.csv", "--adapters", "adapters", "--out", "more")
    assert told(*again)["users"] == 3
    assert "3 in all" in run(*again).stdout
    refuses(run(*again, "--steps", "3"), "--adapters")
    refuses(run("adapt", "--model", "model", "--user", "u1", "--adapters", "adapters", "--out", "x"), "--events")


# --- update, forget ----------------------------------------------------------------------------------------------


def test_update_and_forget_change_what_is_remembered(rec: Recommender, here: Path) -> None:
    (here / "more.csv").write_text("item_id,title\nnew,garden thing anew\ni1,known\n")
    facts = told("update", "--model", "model", "--events", "new.csv", "--items", "more.csv", "--out", "later")
    assert (facts["model"], facts["known_items"], facts["remembered_users"]) == ("later", 49, 81)
    assert (facts["items"]["kept"], facts["events"]["kept"]) == (2, 3)
    later = Recommender.load("later")
    assert "new" in later.catalog.item_ids
    assert "mia" in later.user_ids
    assert "mia" not in Recommender.load("model").user_ids, "--out leaves the model as it is"
    assert "remembers 81 users" in run("update", "--model", "model", "--events", "new.csv").stdout
    assert "mia" in Recommender.load("model").user_ids

    facts = told("forget", "--model", "model", "mia", "u0", "--out", "fewer")
    assert (facts["remembered_users"], facts["forgotten"]) == (79, ["mia", "u0"])
    fewer, model = Recommender.load("fewer"), Recommender.load("model")
    assert not {"mia", "u0"} & set(fewer.user_ids)
    assert facts["events_gone"] == model.counts.events - fewer.counts.events > 2
    assert facts["weights_may_keep_a_part"]
    assert "remembers 80 users" in run("forget", "--model", "model", "mia").stdout
    assert "mia" not in Recommender.load("model").user_ids


def test_forget_says_what_is_gone_and_what_stays(rec: Recommender) -> None:
    before = rec.counts.events
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = run("forget", "--model", "model", "u3", "u4", "u3", "nobody")
    gone = before - Recommender.load("model").counts.events
    said = " ".join(result.stderr.split())
    assert f"Gone: u3, u4; {gone} counted events with them" in said
    assert "what they took from whoever was there at the fit stays until the next one" in said
    assert "'nobody'" in said
    assert "Refit not due: " in result.stdout
    refuses(run("forget", "--model", "model", "nobody"), "nobody")


def test_forget_says_when_nothing_stays(rec: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainedOn, "includes", lambda self, users: np.zeros(len(list(users)), dtype=bool))
    assert "The weights were learned without them." in run("forget", "--model", "model", "u3").stderr


def test_who_is_not_remembered_is_forgotten_by_their_events(here: Path, tiny: Path, toy: ToyShop) -> None:
    rec = Recommender(config_for(tiny, adaptation=None, keep_histories=False)).fit(toy.catalog, toy.events)
    rec.save("discreet")
    toy.events.of_users(["u3"]).frame.write_csv("u3.csv")
    facts = told("forget", "--model", "discreet", "--events", "u3.csv")
    assert facts["forgotten"] == ["u3"]
    assert facts["events_gone"] == rec.counts.events - Recommender.load("discreet").counts.events > 0
    assert rec.forget(toy.events.of_users(["u3"])).counts.digest() == Recommender.load("discreet").counts.digest()
    refuses(run("forget", "--model", "discreet", "u4"), "keep_histories")
    for whom in ((), ("u4", "--events", "u3.csv")):
        refuses(run("forget", "--model", "discreet", *whom), "who shall be forgotten")


def test_update_tells_of_unknown_items_once(rec: Recommender, here: Path) -> None:
    (here / "new.csv").write_text(NEW + "mia,i99,1700000003\n")
    result = run("update", "--model", "model", "--events", "new.csv")
    assert result.exit_code == 0, result.output
    assert result.stderr.count("unknown") == 1
    assert "4 rows read, 3 kept" in result.stderr
    facts = told("update", "--model", "model", "--events", "new.csv")
    assert facts["events"]["dropped"] == {"unknown_item": 1}


def test_update_lets_the_shop_adapt(rec: Recommender, here: Path) -> None:
    rows = [f"u{user},i{(7 * user + item) % 48},{1_700_000_000 + item}" for user in range(60) for item in range(3)]
    (here / "new.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    facts = told("update", "--model", "model", "--events", "new.csv", "--adapt", "shop", "--out", "later")
    wanted = rec.update(recllm.Interactions.read("new.csv"), adapt="shop").adapters
    assert wanted.version == 1
    assert facts["shop_adapter"] == {"version": 1, "in_use": wanted.drift.in_use}
    assert Recommender.load("later").adapters.version == 1
    assert "shop_adapter" not in told("update", "--model", "model", "--events", "new.csv", "--out", "later")
    result = run("update", "--model", "model", "--events", "new.csv", "--adapt", "shop")
    assert "ShopAdapters(version 1, " in result.stderr
    assert run("update", "--model", "model", "--events", "new.csv", "--adapt", "user").exit_code == 2


def test_update_says_how_fresh_the_model_is(rec: Recommender, here: Path) -> None:
    fresh = told("update", "--model", "model", "--events", "new.csv")["freshness"]
    assert (fresh["events_since_fit"], fresh["newest_event"], fresh["refit_due"]) == (3, 1700000002.0, False)
    assert fresh["events"] == rec.counts.events + 3
    rows = [f"m{user},i{item},{1700000100 + item}" for user in range(99) for item in range(10)]
    (here / "new.csv").write_text(NEW + "\n".join(rows) + "\n")
    assert "Refit due: " in run("update", "--model", "model", "--events", "new.csv").stdout


# --- models, doctor ----------------------------------------------------------------------------------------------


def test_models_lists_what_is_at_hand(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "hub" / "models--someone--texts" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "modules.json").write_text("[]")
    import huggingface_hub

    scan = huggingface_hub.scan_cache_dir
    monkeypatch.setattr(huggingface_hub, "scan_cache_dir", lambda: scan(tmp_path / "hub"))
    rows = {row["name"]: row for row in told("models")}
    assert Path(rows["minilm"]["path"], "config.json").is_file()
    assert (rows["minilm"]["kind"], rows["smollm2"]["kind"]) == ("backbone", "generator")
    assert (rows["someone/texts"]["kind"], rows["someone/texts"]["source"]) == ("backbone", "hub cache")
    assert "someone/texts" in run("models").stdout
    monkeypatch.setattr(huggingface_hub, "scan_cache_dir", lambda: scan(tmp_path / "none"))
    assert {row["name"] for row in told("models")} == {"minilm", "smollm2"}


def test_models_shows_the_card_of_a_saved_one(here: Path) -> None:
    card = Path("model/README.md").read_text(encoding="utf-8")
    fresh = Recommender.load("model").freshness().at(None)
    assert "\n".join(["## Freshness", *(f"- {line}" for line in str(fresh).splitlines())]) in card
    assert told("models", "model") == {"model": "model", "version": recllm.__version__, "card": card}
    assert run("models", "model").stdout == card.strip() + "\n"
    refuses(run("models", "absent"), "absent")


def checks(*arguments: str, code: int = 0) -> dict[str, dict[str, Any]]:
    result = run("doctor", *arguments, "--json")
    assert result.exit_code == code, result.output
    answer = json.loads(result.stdout)
    assert answer["ok"] is (code == 0)
    return {one["name"]: one for one in answer["checks"]}


def test_a_doctor_finds_nothing_wrong(here: Path) -> None:
    found = checks("--model", "model")
    usual = ["recllm", "packages", "extras", "device", "memory", "cache", "backbone"]
    assert list(found) == [*usual, "model", "freshness"]
    assert all(one["ok"] for one in found.values())
    assert "refit not due" in found["freshness"]["found"]
    assert list(checks()) == usual
    assert "48 items, 80 users" in found["model"]["found"]
    assert "threads" in found["device"]["found"]


def test_a_doctor_says_how_fresh_a_model_is(here: Path, rec: Recommender) -> None:
    told("update", "--model", "model", "--events", "new.csv")
    fresh = told("doctor", "--model", "model")["freshness"]
    wanted = Recommender.load("model").freshness(now=fresh["newest_event"] + fresh["age"]).to_dict()
    assert fresh == {**wanted, "age": fresh["age"]}
    assert fresh["events_since_fit"] == 3
    assert "3 of them (0." in " ".join(run("doctor", "--model", "model").stdout.split())
    assert "freshness" not in told("doctor")


def test_a_refit_that_is_due_is_nothing_wrong(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recllm.model.freshness.REFIT_SHARE", 0.0)
    found = checks("--model", "model")["freshness"]
    assert found["ok"]
    assert "refit due" in found["found"]


def test_a_doctor_finds_what_is_wrong(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = checks("--model", "absent", code=1)
    assert not absent["model"]["ok"]
    assert not absent["freshness"]["ok"]
    assert not checks("--device", "abacus", code=1)["device"]["ok"]
    (here / "file").touch()
    monkeypatch.setenv("RECLLM_CACHE", str(here / "file"))
    assert "RECLLM_CACHE" in checks(code=1)["cache"]["found"]
    assert re.search(r"WRONG +cache", run("doctor").stdout)
    monkeypatch.setenv("RECLLM_CACHE", "off")
    assert checks()["cache"]["ok"]
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["torch>=99", "nowhere", "polars; extra == 'some'"])
    found = checks(code=1)["packages"]["found"]
    assert re.search(r"torch is 2\S*, wanted >=99; nowhere is missing", found)
    assert "polars" not in found


def test_a_doctor_finds_a_model_without_its_backbone(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise recllm.BackboneError("backbone 'x' was not found")

    monkeypatch.setattr(Recommender, "search", gone)
    assert checks("--model", "model", code=1)["model"] == {
        "name": "model", "ok": False, "found": "backbone 'x' was not found"
    }  # fmt: skip
