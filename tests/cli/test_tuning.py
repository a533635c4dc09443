"""`recllm prompts compose | optimize | tree | promote | rollback` and `recllm fit --prompts`, as they are typed."""

from pathlib import Path

import pytest

from recllm.config import write_toml
from recllm.encoders.text import TextEncoderConfig
from recllm.model.config import RecommenderConfig
from recllm.prompting.template import load_prompt, parse_prompt
from recllm.recommender import Recommender
from tests.cli.command_line import refuses, run, told
from tests.tuning.world import backbone, planted


@pytest.fixture(scope="module")
def learned_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    world = planted()
    world.catalog.frame.drop("categories").write_csv(folder / "items.csv")
    world.events.frame.select("user_id", "item_id", "timestamp").write_csv(folder / "events.csv")
    config = RecommenderConfig(text=TextEncoderConfig(backbone=backbone(folder)), adaptation=None)
    write_toml(config, folder / "recllm.toml")
    return folder


@pytest.fixture
def shop(learned_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(learned_folder)
    return learned_folder


RACE = ("prompts", "optimize", "--items", "items.csv", "--events", "events.csv", "--config", "recllm.toml")


def test_compose_prints_the_prompt_and_why(shop: Path, tmp_path: Path) -> None:
    result = run("prompts", "compose", "items.csv")
    assert result.exit_code == 0, result.output
    assert "reads kind: 100% of the items have one, 6 values" in result.stdout
    source = result.stdout.partition("\n---\n")
    assert source[0].startswith("domain neutral")
    answer = told("prompts", "compose", "items.csv", "--out", str(tmp_path / "item.mine.prompt"), "--domain", "finance")
    assert parse_prompt(answer["source"]).domain == "finance"
    assert load_prompt(str(tmp_path / "item.mine.prompt")).source == answer["source"]
    assert set(answer["reads"]) == {"title", "text", "maker", "kind"}
    kept = told("prompts", "compose", "items.csv", "--prompts", str(tmp_path / "prompts"))
    assert told("prompts", "tree", "--prompts", str(tmp_path / "prompts"))[0]["name"] == kept["prompt"]


def test_optimize_promote_fit_and_roll_back(shop: Path, tmp_path: Path) -> None:
    folder = ("--prompts", str(tmp_path / "prompts"))
    answer = told(*RACE, *folder, "--arms", "8")
    assert not answer["kept"]
    assert answer["gain"]["low"] > 0
    assert len(answer["arms"]) <= 8
    winner = answer["chosen"]
    tree = run("prompts", "tree", *folder)
    assert winner in tree.stdout
    assert "lost: behind the leader" in tree.stdout
    first = told("prompts", "compose", "items.csv", *folder)["prompt"]
    told("prompts", "promote", first, *folder)
    move = run("prompts", "promote", winner, *folder, "--items", "items.csv", "--config", "recllm.toml")
    assert move.exit_code == 0, move.output
    said = " ".join((move.stdout + move.stderr).split())
    assert f"'item' is {winner} from now on (before: {first})" in said
    assert "120 items" in said
    model = str(tmp_path / "model")
    fitted = ("--items", "items.csv", "--events", "events.csv", "--config", "recllm.toml", "--out", model)
    told("fit", *fitted, *folder)
    assert Recommender.load(model).prompts["item"].name == winner
    back = told("prompts", "rollback", *folder)
    assert (back["prompt"], back["why"]) == (first, "rollback")
    refuses(run("prompts", "rollback", *folder), "no way back")


def test_optimize_prints_the_race_and_how_to_use_the_winner(shop: Path, tmp_path: Path) -> None:
    result = run(*RACE, "--prompts", str(tmp_path), "--arms", "8")
    assert result.exit_code == 0, result.output
    assert "the standing prompt" in result.stdout
    assert "users who had no part in it" in result.stdout
    assert "To use it: recllm prompts promote item.arm-" in result.stdout
    assert "Nothing was kept" in run(*RACE, "--arms", "3").stdout


def test_bad_input_is_told_in_a_sentence(shop: Path, tmp_path: Path) -> None:
    folder = ("--prompts", str(tmp_path))
    refuses(run("prompts", "tree", *folder), "there are no prompts in")
    refuses(run("prompts", "promote", "item.none", *folder), "there is no prompt 'item.none'")
    refuses(run("prompts", "rollback", *folder), "no way back")
    refuses(run("prompts", "compose", "none.csv"), "none.csv")
    refuses(run(*RACE, *folder, "--standing", "item.none"), "there is no prompt 'item.none'")
    fitted = ("--items", "items.csv", "--events", "events.csv", "--config", "recllm.toml", "--out", str(tmp_path / "m"))
    refuses(run("fit", *fitted, *folder), "promote one")
    few = tmp_path / "few.csv"
    few.write_text("\n".join((shop / "events.csv").read_text().splitlines()[:200]))
    refuses(run(*RACE[:5], str(few), *RACE[6:], *folder), "compose one from the catalog instead")
