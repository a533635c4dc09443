"""Words are judged by the verifier and by how much of the evidence they say."""

from pathlib import Path

import numpy as np
import pytest

from recllm.errors import ConfigError, GenerationError, LeakageError, PromptError
from recllm.explain.evidence import Cause, Evidence
from recllm.explain.explainer import Explainer
from recllm.explain.verify.complaints import complaints
from recllm.options import TrainOptions
from recllm.prompting.generator import CannedGenerator
from recllm.prompting.template import load_prompt, parse_prompt
from recllm.recommender import Recommender
from recllm.resources import data_folder
from recllm.testing import ToyShop
from recllm.tuning.slots import lost, parts_of
from recllm.tuning.words import WordJudge, evidence_of, share_said, spare_sentences, word_arms
from tests.explain.examples import RICH, evidence, shared, without
from tests.small import config_for
from tests.tuning.writers import WEAK, Scripted, speaker

PLAIN = evidence("history", "Lantern")
WRITE = load_prompt("write.reason")


# --- how much is said --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("Because you bought “Lantern” and “Bunting”; it is in “Garden”.", 1.0),
        ("Because you bought LANTERN and “Bunting”.", 2 / 3),
        ("Because you bought “Lanterns”.", 0.0),
        ("", 0.0),
    ],
)
def test_the_share_of_what_could_be_named(text: str, share: float) -> None:
    assert share_said(text, RICH) == pytest.approx(share)


def test_a_title_within_a_title_is_not_said_by_it() -> None:
    both = evidence("history", "Lantern", "Red lantern")
    assert share_said("Because you bought “Red lantern”.", both) == 0.5
    assert share_said("Because you bought “Red lantern” and “Lantern”.", both) == 1.0


def test_wishes_are_to_be_said_and_nothing_is_said_of_nothing() -> None:
    asked = evidence("asked", wishes=("Garden",))
    assert (share_said("You asked for more of “Garden”.", asked), share_said("Here.", asked)) == (1.0, 0.0)
    assert share_said("Popular with everyone.", evidence("popular", popular=True)) == 1.0


# --- the judge ---------------------------------------------------------------------------------------------------


def test_a_text_is_worth_what_it_says_if_it_passes() -> None:
    texts = ["Because you bought “Lantern” and “Bunting”.", "Because you bought “Teapot”."]
    judge = WordJudge([RICH, RICH], generator=CannedGenerator(texts))
    right, wrong = judge.said(WRITE)
    assert (right.wrong, right.share, right.value) == ((), pytest.approx(2 / 3), pytest.approx(5 / 6))
    assert wrong.value == 0.0
    left_out = "The text is true, and leaves out items or attributes that the facts name."
    assert judge.complaints(WRITE) == (left_out, *complaints(texts[1], RICH))
    np.testing.assert_allclose(judge.values([WRITE]), [[5 / 6, 0.0]])  # no prompt is asked twice about a case


def test_the_speaker_is_told_the_prompt_and_the_facts() -> None:
    generator = speaker()
    own = parse_prompt(WEAK, "mine", data_folder("prompts"))
    judge = WordJudge([RICH], generator=generator)
    assert judge.said(own)[0].text == "Because you bought “Lantern”. It is excellent."
    assert generator.asked[0][0] == own.render()
    assert "The recommended item is “Fairy lights”." in generator.asked[0][1]
    assert "excellent" in " ".join(judge.complaints(own))


def test_a_silent_model_is_worth_nothing_and_is_counted() -> None:
    judge = WordJudge(
        [PLAIN, PLAIN], generator=CannedGenerator([GenerationError("down"), "Because you bought “Lantern”."])
    )
    assert judge.values([WRITE]).tolist() == [[0.0, 1.0]]
    assert judge.silent == 1


def test_cases_without_anything_to_say_are_for_templates_only() -> None:
    cases = [PLAIN, evidence("weak"), evidence("owned", "Lantern")]
    assert WordJudge(cases, generator=CannedGenerator()).cases == (PLAIN,)
    judge = WordJudge(cases)
    assert judge.cases == tuple(cases)
    assert judge.values([load_prompt("reason.neutral")]).tolist() == [[1.0, 1.0, 1.0]]


def test_templates_are_judged_by_the_words_of_their_domain() -> None:
    popular = evidence("popular", popular=True)
    assert WordJudge([popular], domain="education").values([load_prompt("reason.education")]).tolist() == [[1.0]]
    assert WordJudge([popular], domain="finance").values([load_prompt("reason.education")]).tolist() == [[0.0]]


def test_templates_are_not_given_what_evidence_does_not_have() -> None:
    asking = parse_prompt("---\ninput: {schema: {price: string}}\n---\n{{price}}", "mine")
    with pytest.raises(PromptError, match="prompt 'mine' wants 'price', and evidence has: owned, cited"):
        WordJudge([PLAIN]).said(asking)


def test_a_model_that_only_chooses_has_no_words() -> None:
    with pytest.raises(ConfigError, match="'canned' only chooses among sentences"):
        WordJudge([PLAIN], generator=CannedGenerator(writes=False))


# --- fragments ---------------------------------------------------------------------------------------------------


def test_arms_are_instructions_by_examples_and_the_standing_prompt_is_the_first() -> None:
    arms = word_arms(WRITE)
    assert arms[0] is WRITE
    assert len({one.digest for one in arms}) == len(arms) == 9
    assert [one.metadata["lineage"]["change"] for one in arms[1:]] == [
        "the standing instructions, 1 example",
        "the standing instructions, 3 examples",
        *(
            f"instructions.{name}, {count}"
            for name in ("brief", "steps")
            for count in ("0 examples", "1 example", "3 examples")
        ),
    ]
    for one in arms:
        assert lost(one, WRITE) == []
        assert Explainer(CannedGenerator(), instructions=one)
    assert [one.render().count("The recommended item is") for one in arms] == [0, 1, 3] * 3
    again = word_arms(arms[2])  # the examples are there already
    assert all(one.render().count("“Oat milk”.") <= 2 for one in again)


def causes(*titles: str, event: str | None = None) -> tuple[Cause, ...]:
    return tuple(Cause(f"i{place}", title, 1.0, 0.3, event) for place, title in enumerate(titles))


EXAMPLES = {
    "shared": evidence(
        "history", "Muesli", "Honey", title="Oat milk", attributes=shared("categories", "Breakfast", "i0")
    ),
    "otherwise": evidence(
        "history",
        "The shadow of the wind",
        title="Night train to Lisbon",
        events=(None,),
        counterfactual=without("The shadow of the wind", instead="Cooking for two"),
    ),
    "words": evidence(
        "history",
        "Drawing for beginners",
        title="Watercolour for beginners",
        events=("complete",),
        attributes=shared("title", "for beginners"),
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_show_what_a_model_is_shown_and_what_the_verifier_passes(name: str) -> None:
    body = parts_of(load_prompt(f"example.{name}", Path(data_folder("prompts")) / "writing"))[1]
    facts, _, text = body.partition("</facts>\n")
    generator = CannedGenerator([text])
    case: Evidence = EXAMPLES[name]
    (said,) = WordJudge([case], generator=generator).said(WRITE)
    assert generator.asked[0][1].strip() == f"{facts}</facts>"
    assert (said.wrong, said.share) == ((), 1.0)


def test_every_example_is_tested() -> None:
    found = {path.name.split(".")[1] for path in (Path(data_folder("prompts")) / "writing").glob("example.*.prompt")}
    assert found == set(EXAMPLES)


def test_spare_sentences_are_sentences() -> None:
    assert len(spare_sentences()) >= 3
    assert all(one.endswith(".") and "{{" not in one for one in spare_sentences())


# --- evidence ----------------------------------------------------------------------------------------------------


def test_evidence_is_of_users_that_training_has_not_seen(tiny: Path, toy: ToyShop) -> None:
    users = toy.events.user_ids
    model = Recommender(config_for(tiny)).fit(
        toy.catalog, toy.events.of_users(users[:60]), options=TrainOptions(seed=0)
    )
    cases = evidence_of(model, toy.events.of_users(users[60:64]), n=2)
    assert [one.user_id for one in cases] == [user for user in users[60:64] for _ in range(2)]
    assert WordJudge(cases).values([load_prompt("reason.neutral")]).min() > 0
    with pytest.raises(LeakageError, match="the model was trained on 1 of the users"):
        evidence_of(model, toy.events.of_users([users[0], users[61]]))


def test_a_scripted_model_is_asked_once_a_case() -> None:
    generator = Scripted(lambda *_: "Because you bought “Lantern”.")
    judge = WordJudge([PLAIN] * 3, generator=generator)
    judge.values([WRITE], [0, 2])
    judge.values([WRITE])
    assert len(generator.asked) == 3
