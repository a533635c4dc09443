"""A planted weakness is mended by measurement; what is not surely better is not used."""

import re
from pathlib import Path

import pytest

import recllm
from recllm.data.tasks import split_users
from recllm.errors import DataError, LeakageError
from recllm.explain.evidence import Evidence
from recllm.options import TrainOptions
from recllm.prompting.generator import CannedGenerator
from recllm.prompting.template import list_prompts, load_prompt, parse_prompt
from recllm.recommender import Recommender
from recllm.resources import data_folder
from recllm.testing import ToyShop
from recllm.tuning.optimize_words import optimize_words
from recllm.tuning.propose import Probe
from recllm.tuning.store import PromptStore
from tests.explain.examples import evidence, shared
from tests.small import config_for
from tests.tuning.writers import BETTER, WEAK, Scripted, good, speaker

STANDING = parse_prompt(WEAK, "write.reason", data_folder("prompts"))


def cases(users: int = 12, each: int = 2) -> list[Evidence]:
    return [
        evidence(
            "history",
            f"Lantern {user}",
            f"Bunting {place}",
            title=f"Lights {user}{place}",
            attributes=shared("categories", "Garden", "i0"),
            user_id=f"u{user}",
        )
        for user in range(users)
        for place in range(each)
    ]


def test_a_good_writer_mends_a_planted_weakness() -> None:
    writer = good()
    result = optimize_words(STANDING, cases(), generator=speaker(), writer=writer)
    assert not result.kept
    assert result.chosen is result.leader
    assert result.chosen.render() == parse_prompt(f"---\n---\n{BETTER}", "b", data_folder("prompts")).render()
    assert (result.figures["standing"].passed, result.figures["leader"].passed) == (0.0, 1.0)
    assert (result.figures["leader"].said, result.figures["leader"].value) == (1.0, 1.0)
    assert (result.report.value, result.report.low) == (1.0, 1.0)
    assert result.verdict.startswith(f"chose '{result.chosen.reference}: draft 1 by scripted': +100.0%")
    assert any("excellent" in user for _, user in writer.asked[10:])  # drafts are told what went wrong
    assert "writer on" in str(result)


def test_the_two_groups_of_users_are_disjoint_and_complaints_are_of_those_who_choose() -> None:
    writer = good()
    result = optimize_words(STANDING, cases(), generator=speaker(), writer=writer, n=30, probe=Probe(10, 10))
    assert result.facts["users"] == {"select": 6, "report": 6}
    assert result.report.n == 6
    speaking = speaker()
    asked: list[str] = []
    spy = Scripted(lambda system, user: asked.append(user) or speaking.answer(system, user))  # type: ignore[func-returns-value]
    optimize_words(STANDING, cases(), generator=spy, n=0)
    users = [re.findall(r"Lights (\d+)\d”", user)[0] for user in asked]
    first = users[:12]  # the standing prompt is asked about the cases of those who choose, and nobody else's
    assert len(set(first)) == 6
    assert len(set(users)) == 12


def test_a_writer_hears_of_users_who_choose_alone() -> None:
    letters = "abcdefghijkl"

    def naming(_: str, user: str) -> str:
        (number,) = re.findall(r"Lights (\d+)[01]”", user)
        return f"Because you bought “Teapot{letters[int(number)]}”."

    writer = good()
    optimize_words(STANDING, cases(), generator=Scripted(naming), writer=writer, n=12, probe=Probe(10, 10))
    users = [f"u{user}" for user in range(12)]
    choosing = {users[place] for place in split_users(users, {"select": 0.5, "report": 0.5}, seed=0)["select"]}
    told = {f"u{letters.index(user)}" for _, shown in writer.asked for user in re.findall("[Tt]eapot([a-l])", shown)}
    assert told == choosing


def test_without_a_writer_fragments_and_mutations_go_on() -> None:
    result = optimize_words(STANDING, cases(), generator=speaker(), writer=CannedGenerator(["no"] * 10))
    assert result.proposal.writer.startswith("off: 0 of 3")
    assert not result.kept  # other instructions do without the praise
    assert result.figures["leader"].passed == 1.0
    assert result.lineage(0)["stopped"]
    won = result.lineage(result.race.leader)
    assert won["gain"]["low"] > 0
    assert won["parent"] == STANDING.reference
    assert won["writer"] == result.proposal.writer


def test_what_is_as_good_is_no_reason_to_change() -> None:
    same = Scripted(lambda *_: "Because you bought “Lantern”.")
    plain = [evidence("history", "Lantern", user_id=f"u{user}") for user in range(10)]
    result = optimize_words(load_prompt("write.reason"), plain, generator=same)
    assert result.kept
    assert result.chosen is result.arms[0]
    assert result.verdict.startswith("kept the standing prompt: ")  # a shorter one led
    assert "led, but +0.0% [+0.0%, +0.0%] for 5 users" in result.verdict


def test_a_gain_for_those_who_choose_alone_is_not_believed() -> None:
    standing, all_cases = load_prompt("write.reason"), cases()
    seen: list[str] = []

    def flattering(system: str, user: str) -> str:
        number = re.findall(r"Lights (\d+)\d”", user)[0]
        if not seen or len(set(seen)) < 6:  # the first six users that are asked are those who choose
            seen.append(number)
        long = "Examples:" in system and number in seen
        titles = re.findall(r"“(?:Lantern|Bunting) \d+”", user.partition("Because")[2])[: 2 if long else 1]
        return f"Because you bought {' and '.join(titles)}."

    result = optimize_words(standing, all_cases, generator=Scripted(flattering), n=0)
    assert result.leader is not standing
    assert result.kept
    assert result.verdict.startswith("kept the standing prompt: '")
    assert result.report.value == 0.0


def test_templates_race_too() -> None:
    domain = "ecommerce"
    standing = load_prompt(f"reason.{domain}")
    short = parse_prompt(
        standing.source.replace("{{> details}}\n", "{{> details}}\nIt is excellent.\n"),
        "reason.mine",
        data_folder("prompts"),
    )
    result = optimize_words(short, cases(), domain=domain, further=(standing,))
    assert result.chosen.digest == standing.digest
    assert result.facts["speaker"] == "template"


def test_few_users_are_refused() -> None:
    with pytest.raises(DataError, match="there is something to say to 7 users, and 8 are needed"):
        optimize_words(STANDING, cases(users=7), generator=speaker())


def test_time_that_is_up_cuts_the_race() -> None:
    result = optimize_words(STANDING, cases(), generator=speaker(), over=lambda: True)
    assert result.race.cut
    assert all(len(laps) == 1 for laps in result.race.laps)


def test_arms_are_kept_with_what_came_of_them(tmp_path: Path) -> None:
    result = optimize_words(STANDING, cases(), generator=speaker(), writer=good()).written(PromptStore(tmp_path))
    kept = PromptStore(tmp_path).prompt(result.chosen.name)
    assert kept.digest == result.chosen.digest
    assert kept.render() == result.chosen.render()
    told = kept.metadata["lineage"]
    assert (told["parent"], told["made_by"], told["writer"]) == (STANDING.reference, "drafted", "on")
    assert told["gain"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 6}
    lost = PromptStore(tmp_path).prompt(next(one.name for one in result.arms[1:] if one is not result.leader))
    assert lost.metadata["lineage"]["stopped"]
    move = PromptStore(tmp_path).promote(kept.name, "write", standing=STANDING)
    assert PromptStore(tmp_path).current("write").digest == kept.digest
    assert move.prompt == kept.name


def test_the_door_takes_a_recommender_and_its_strangers(tiny: Path, toy: ToyShop, tmp_path: Path) -> None:
    users = toy.events.user_ids
    fitted = toy.events.of_users(users[:60])
    model = Recommender(config_for(tiny)).fit(toy.catalog, fitted, options=TrainOptions(seed=0))
    strangers = toy.events.of_users(users[60:]).frame
    result = recllm.prompts.optimize_words(model, strangers, generator=speaker(), standing=STANDING, folder=tmp_path)
    assert not result.kept
    assert list_prompts(tmp_path) == (result.chosen.name,)
    assert recllm.prompts.optimize_words(model, strangers).facts["speaker"] == "template"
    with pytest.raises(LeakageError):
        recllm.prompts.optimize_words(model, toy.events)
