"""Whatever a model says, the reason that comes out is true, plain, and says how it was made."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.errors import ConfigError, GenerationError
from recllm.explain.clauses import compose, options_for
from recllm.explain.evidence import Evidence, Likewise
from recllm.explain.explainer import LONGEST_FALLBACK, LONGEST_TEXT, Explainer, Level, Wording
from recllm.explain.verify.complaints import complaints
from recllm.explain.wording import display_title, word
from recllm.prompting import load_prompt
from recllm.prompting.generator import CannedGenerator, Generator
from recllm.prompting.template import parse_prompt, prompt_domains
from tests.explain.examples import RICH, against, evidence, shared, without
from tests.explain.payloads import PAYLOADS

PLAIN = evidence("history", "Lantern")
NOTHING = [
    evidence("weak"),
    evidence("popular", popular=True),
    evidence("cold_start"),
    evidence("cold_start", popular=True),
    evidence("profile"),
    evidence("promoted"),
]
TRUE = "Because you bought “Lantern”."


class Broken(Generator):
    """A model that is not there."""

    name, writes = "broken", True

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.calls = error or GenerationError("the server is down"), 0

    def generate(self, system: str, user: str, *, max_tokens: int = 160, schema: Any = None) -> str:
        self.calls += 1
        raise self.error

    def choose(self, system: str, user: str, options: Sequence[str]) -> int | None:
        self.calls += 1
        raise self.error

    def choose_many(self, requests: Sequence[tuple[str, str, Sequence[str]]]) -> list[int | None]:
        self.calls += 1
        raise self.error


class Chooser(Broken):
    """A model that only chooses, and answers what it is told to."""

    name, writes = "chooser", False

    def __init__(self, answers: Any) -> None:
        super().__init__()
        self.answers = answers

    def choose_many(self, requests: Sequence[tuple[str, str, Sequence[str]]]) -> list[int | None]:
        self.calls += 1
        self.requests = list(requests)
        return self.answers


def is_template(wording: Wording, of: Evidence, domain: str = "neutral") -> bool:
    return (wording.method, wording.text, wording.generator) == ("L0", word(of, domain), None)


# --- the rungs ---------------------------------------------------------------------------------------------------


def test_without_a_model_it_is_the_template() -> None:
    (wording,) = Explainer().explain([RICH])
    prompt = load_prompt("reason.neutral").reference
    assert wording == Wording("Because you bought “Lantern” and “Bunting”.", "L0", True, None, 0.6, prompt, None)
    (full,) = Explainer(domain="finance", detail="full", audience="owner").explain([RICH])
    assert full.text == word(RICH, "finance", detail="full")
    assert full.prompt.startswith("reason.finance@")
    assert full.verified


@pytest.mark.parametrize("level", ["L0", "L1", "L2", "L3"])
def test_what_speaks_against_it_is_for_the_owner(level: Level) -> None:
    texts = ["Because you bought “Lantern”, although “Office chair” speaks against it."] * 2
    said = {}
    for audience in ("customer", "owner"):
        generator = CannedGenerator(texts, choices=[2])
        (wording,) = Explainer(generator, level=level, detail="full", audience=audience).explain([RICH])  # type: ignore[arg-type]
        assert wording.verified
        said[audience] = wording.text
        told = Explainer(level="L0", detail="full", audience=audience)  # type: ignore[arg-type]
        assert told.retold(RICH, wording.text, wording.to_dict(), level).complaints == ()
    assert ("Office chair" in said["customer"], "Office chair" in said["owner"]) == (False, True)
    with pytest.raises(ConfigError, match="there is no audience 'admin'; choose one of: customer, owner"):
        Explainer(audience="admin")  # type: ignore[arg-type]


@pytest.mark.parametrize("level", ["L0", "L1", "L2", "L3"])
@pytest.mark.parametrize("domain", ["neutral", "finance"])
def test_a_reason_that_another_has_names_it(level: Level, domain: str) -> None:
    generator = CannedGenerator([TRUE, "As with “Teapot”: " + TRUE], choices=[0, 0])
    explainer = Explainer(generator, level=level, domain=domain)
    (alone,) = explainer.explain([PLAIN])
    same = replace(PLAIN, same_as=Likewise("t", "Teapot"))
    (wording,) = explainer.explain([same])
    assert wording.text == f"As with “Teapot”: {alone.text}"
    assert (wording.method, wording.verified) == (level, True)
    assert wording.prompt == f"{load_prompt('likewise.neutral').reference}+{alone.prompt}"
    assert complaints(wording.text.removesuffix(" Not financial advice."), same) == ()
    assert complaints(wording.text, replace(PLAIN, same_as=Likewise("u", "Urn"))) != ()
    retold = Explainer(domain=domain).retold(same, wording.text, wording.to_dict(), level)
    assert (retold.wording, retold.complaints) == (wording, ())


def test_labels_are_json() -> None:
    (wording,) = Explainer().explain([PLAIN])
    assert json.loads(json.dumps(wording.to_dict())) == {
        "text": TRUE,
        "method": "L0",
        "verified": True,
        "fallback": None,
        "share": 0.3,
        "prompt": load_prompt("reason.neutral").reference,
        "generator": None,
    }


def test_clauses_without_a_model() -> None:
    for detail, details in (("short", ()), ("full", ("attribute", "counterfactual", "against"))):
        (wording,) = Explainer(level="L2", detail=detail, domain="ecommerce", audience="owner").explain([RICH])
        clause = compose(RICH, "ecommerce", details)
        assert wording == Wording(clause.text, "L2", True, None, 0.6, clause.prompt, None)
    assert [one.method for one in Explainer(level="L2").explain(NOTHING)] == ["L2"] * len(NOTHING)


def test_the_longest_titles_fit() -> None:
    titles = ["A" * 80, "B" * 80, "C" * 80]
    longest = evidence(
        "history",
        *titles,
        attributes=shared("brand_name", "D" * 80, "i0", "i1", "i2"),
        counterfactual=without(*titles, instead="E" * 80),
        against=against("F" * 80),
    )
    for level in ("L0", "L2"):
        (wording,) = Explainer(level=level, detail="full", domain="finance", audience="owner").explain([longest])
        assert (wording.method, wording.verified) == (level, True)
        assert all(letter * 20 in wording.text for letter in "ABCDEF")


def test_a_model_is_not_asked_where_none_is_needed() -> None:
    generator = Broken()
    for level in ("L0", "L2"):
        assert Explainer(generator, level=level).explain([RICH])[0].method == level
    assert generator.calls == 0


def test_a_model_chooses_among_clauses() -> None:
    generator = Chooser([1, None, 0])
    chosen, abstained, weak, plain = Explainer(generator, audience="owner").explain([RICH, RICH, NOTHING[0], PLAIN])
    options = options_for(RICH)
    assert chosen == Wording(options[1].clause.text, "L1", True, None, 0.6, options[1].clause.prompt, "chooser")
    assert is_template(abstained, RICH)
    assert abstained.fallback == "The model abstained."
    assert is_template(weak, NOTHING[0])
    assert weak.fallback == "The evidence names nothing that a model could put into words."
    assert (plain.method, plain.text) == ("L1", options_for(PLAIN)[0].clause.text)
    assert generator.calls == 1
    assert [list(options) for _, _, options in generator.requests] == [
        [option.offered for option in options_for(one)] for one in (RICH, RICH, PLAIN)
    ]
    _, facts, _ = generator.requests[0]
    assert facts.startswith("<facts>\nThe recommended item is “Fairy lights”.\nBecause you bought “Lantern”")


def test_the_canned_model_chooses() -> None:
    (wording,) = Explainer(CannedGenerator(choices=[2]), level="L1", audience="owner").explain([RICH])
    assert (wording.method, wording.text) == ("L1", options_for(RICH)[2].clause.text)


def test_a_model_writes() -> None:
    generator = CannedGenerator(["  You bought “Lantern” and “Bunting”,\nso this is here. "])
    (wording,) = Explainer(generator).explain([RICH])
    prompt = "+".join(load_prompt(name).reference for name in ("write.reason", "facts.reason"))
    text = "You bought “Lantern” and “Bunting”, so this is here."
    assert wording == Wording(text, "L3", True, None, 0.6, prompt, "canned")
    assert len(generator.asked) == 1
    assert "Without them you would have seen “Cake tin” instead." in generator.asked[0][1]


def test_instructions_of_ones_own_are_what_the_model_is_told_and_what_the_label_names() -> None:
    own = parse_prompt("---\ndescription: Mine.\n---\nSay it briefly.", "write.reason.mine")
    generator = CannedGenerator([TRUE])
    explainer = Explainer(generator, instructions=own)
    (wording,) = explainer.explain([PLAIN])
    assert generator.asked[0][0] == "Say it briefly."
    assert wording.prompt == f"{own.reference}+{load_prompt('facts.reason').reference}"
    retold = Explainer().retold(PLAIN, wording.text, wording.to_dict(), "L3")
    assert (retold.wording, retold.taken, retold.complaints) == (wording, ("generator", "prompt"), ())
    for label in ("mine", "a@12345678", f"{own.reference}+write.reason@12345678", f"{own.reference} +x"):
        claimed = wording.to_dict() | {"prompt": label}
        assert Explainer().retold(PLAIN, wording.text, claimed, "L3").wording.prompt != label


def test_instructions_that_want_values_are_refused() -> None:
    wanting = parse_prompt("---\ninput: {schema: {title: string}}\n---\nSay {{title}}.", "mine")
    with pytest.raises(ConfigError, match="the instructions 'mine' want a value for 'title'"):
        Explainer(CannedGenerator(), instructions=wanting)


def test_a_refused_text_is_written_again_with_the_complaint() -> None:
    false = "Because you bought “Teapot”."
    (wrong, *_) = complaints(false, PLAIN)
    generator = CannedGenerator([false, TRUE])
    (wording,) = Explainer(generator).explain([PLAIN])
    assert (wording.text, wording.method, wording.fallback) == (TRUE, "L3", None)
    first, second = generator.asked
    assert "refused" not in first[1]
    assert second[1].endswith("Write it again without that.")
    assert wrong.replace("“", "‘").replace("”", "’") in second[1]


def test_a_text_refused_twice_is_not_shown() -> None:
    generator = CannedGenerator(["Because you bought “Teapot”.", "Buy it, it is excellent.", TRUE])
    (wording,) = Explainer(generator).explain([PLAIN])
    assert is_template(wording, PLAIN)
    assert wording.verified
    assert (wording.fallback or "").startswith("The model's text did not pass the check 2 times: ")
    assert len(generator.asked) == 2


def test_where_there_is_nothing_to_say_no_model_is_asked() -> None:
    for level in ("L1", "L3"):
        generator = Broken()
        for wording, one in zip(Explainer(generator, level=level).explain(NOTHING), NOTHING, strict=True):
            assert is_template(wording, one)
            assert wording.verified
            assert wording.fallback == "The evidence names nothing that a model could put into words."
        assert generator.calls == 0


def test_wishes_are_something_to_say() -> None:
    asked = evidence("asked", wishes=("Garden",))
    (wording,) = Explainer(CannedGenerator(["You asked for more of “Garden”."])).explain([asked])
    assert wording.method == "L3"


# --- trouble -----------------------------------------------------------------------------------------------------


def test_nothing_is_raised_and_after_three_failures_nothing_is_asked() -> None:
    generator = Broken()
    words = Explainer(generator).explain([PLAIN] * 5)
    assert all(is_template(wording, PLAIN) for wording in words)
    assert [wording.fallback for wording in words] == [
        *["The model did not answer: the server is down."] * 3,
        *["The model failed 3 times in a row and was not asked again."] * 2,
    ]
    assert generator.calls == 3
    Explainer(generator).explain([PLAIN])
    assert generator.calls == 4


def test_only_failures_in_a_row_count() -> None:
    class Moody(Broken):
        def generate(self, system: str, user: str, *, max_tokens: int = 160, schema: Any = None) -> str:
            self.calls += 1
            if self.calls % 3 == 0:
                return TRUE
            raise self.error

    words = Explainer(Moody()).explain([PLAIN] * 9)
    assert [wording.method for wording in words] == ["L0", "L0", "L3"] * 3


@pytest.mark.parametrize("error", [GenerationError("x"), TimeoutError(), RuntimeError("<b>"), KeyError("k")])
@pytest.mark.parametrize("level", ["L1", "L3"])
def test_whatever_a_backend_raises(error: Exception, level: str) -> None:
    (wording,) = Explainer(Broken(error), level=level).explain([PLAIN])  # type: ignore[arg-type]
    assert is_template(wording, PLAIN)
    assert (wording.fallback or "").startswith("The model did not answer")
    assert "<" not in (wording.fallback or "")


def test_who_was_not_asked_about_is_not_blamed_on_the_model() -> None:
    words = Explainer(Broken(), level="L1").explain([NOTHING[0], PLAIN])
    assert [wording.fallback for wording in words] == [
        "The evidence names nothing that a model could put into words.",
        "The model did not answer: the server is down.",
    ]


@pytest.mark.parametrize("answers", [[], [0, 0], [7], [-1], ["0"], [True], [0.0], None, 3])
def test_a_choice_that_is_none(answers: Any) -> None:
    (wording,) = Explainer(Chooser(answers)).explain([PLAIN])
    assert is_template(wording, PLAIN)
    assert (wording.fallback or "").startswith("The model ")


@pytest.mark.parametrize("text", [None, 3, b"x", ""])
def test_a_text_that_is_none(text: Any) -> None:
    (wording,) = Explainer(CannedGenerator([text, text])).explain([PLAIN])
    assert is_template(wording, PLAIN)


def test_ctrl_c_is_not_trouble() -> None:
    with pytest.raises(KeyboardInterrupt):
        Explainer(Broken(KeyboardInterrupt())).explain([PLAIN])  # type: ignore[arg-type]


def test_no_evidence_no_words() -> None:
    for level in ("L0", "L1", "L2", "L3"):
        assert Explainer(Broken(), level=level).explain([]) == []


# --- settings ----------------------------------------------------------------------------------------------------


def test_the_level_follows_from_the_model() -> None:
    assert Explainer().level == "L0"
    assert Explainer(Broken()).level == "L3"
    assert Explainer(Chooser([])).level == "L1"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"domain": "poetry"}, "there is no domain 'poetry'; choose one of: ecommerce, "),
        ({"level": "L4"}, "there is no level 'L4'; choose one of: L0, L1, L2, L3"),
        ({"detail": "long"}, "there is no detail 'long'; choose one of: short, full"),
        ({"level": "L1"}, "level L1 needs a generator"),
        ({"level": "L3"}, "level L3 needs a generator"),
        ({"level": "L3", "generator": Chooser([])}, "'chooser' only chooses"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Explainer(**settings)


# --- what can come out -------------------------------------------------------------------------------------------


def test_finance_always_ends_with_the_disclaimer_once() -> None:
    ending = "Not financial advice."
    written = [TRUE, f"{TRUE} {ending}", f"{TRUE} {ending} {ending}", "Buy."]
    makers = [
        *(Explainer(domain="finance", level=level, detail=d) for level in ("L0", "L2") for d in ("short", "full")),
        Explainer(Chooser([0]), domain="finance"),
        *(Explainer(CannedGenerator([text, "Buy."]), domain="finance") for text in written),
    ]
    for maker in makers:
        (wording,) = maker.explain([PLAIN])
        assert re.findall(re.escape(ending), wording.text) == [ending], wording
        assert wording.text.endswith(f". {ending}")
        assert wording.verified
    for level in ("L0", "L2"):
        assert all(one.text.endswith(ending) for one in Explainer(domain="finance", level=level).explain(NOTHING))


def assert_inert(wording: Wording, of: Evidence) -> None:
    """One line of plain text that quotes nothing but the evidence, and true labels."""
    causes = [cause.title for cause in of.causes]
    changed = of.counterfactual
    texts = [*causes, *of.wishes, *(attribute.value for attribute in of.attributes)]
    texts += [*changed.titles, changed.instead_title or ""] if changed else []
    texts += [of.against.title] if of.against else []
    known = {display_title(text) for text in texts}
    assert set(re.findall("“([^”]*)”", wording.text)) <= known
    own = re.sub("“[^”]*”", "", wording.text)
    assert re.fullmatch(r"[A-Za-z ,;.\-']+", own), wording.text
    for text in (wording.text, wording.fallback or ""):
        assert len(text.splitlines()) <= 1
        assert len(text) <= LONGEST_TEXT
        assert not re.search(r"[<>\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
        assert not re.search(r"://|javascript:|\bdata:|\]\(|(?<!\w)www\.\w", text, re.IGNORECASE)
    assert len(wording.fallback or "") <= LONGEST_FALLBACK + 1
    assert wording.verified or wording.method == "L0"
    json.dumps(wording.to_dict())


def test_there_are_many_payloads() -> None:
    assert len(PAYLOADS) >= 300
    assert len(set(PAYLOADS)) == len(PAYLOADS)


@pytest.mark.parametrize("domain", prompt_domains())
def test_hostile_models_are_not_heard(domain: str) -> None:
    for payload in PAYLOADS:
        for texts in ((payload, payload), (f"{TRUE} {payload}", f"{TRUE[:-1]}, {payload}")):
            (wording,) = Explainer(CannedGenerator(texts), domain=domain).explain([PLAIN])
            assert_inert(wording, PLAIN)
            assert wording.text in (word(PLAIN, domain), TRUE), payload


def hostile_evidence(title: str, value: str) -> Evidence:
    return evidence(
        "history",
        title,
        "Bunting",
        title=title,
        item_id=title,
        attributes=shared("categories", value),
        counterfactual=without(title, instead=value),
        against=against(title),
    )


def test_hostile_titles_stay_titles() -> None:
    makers = [
        Explainer(detail="full"),
        Explainer(level="L2", detail="full", domain="finance"),
        Explainer(Broken(), domain="social"),
    ]
    for title, value in zip(PAYLOADS, reversed(PAYLOADS), strict=True):
        one = hostile_evidence(title, value)
        for maker in [*makers, Explainer(Chooser([4]))]:
            (wording,) = maker.explain([one])
            assert_inert(wording, one)
            assert wording.verified, (title, wording)


@given(st.text(), st.text(), st.lists(st.text() | st.sampled_from(PAYLOADS), min_size=2, max_size=2))
def test_anything_anywhere(title: str, value: str, texts: list[str]) -> None:
    one = hostile_evidence(title, value)
    for maker in (Explainer(CannedGenerator(texts)), Explainer(level="L2", detail="full"), Explainer(Chooser([4]))):
        (wording,) = maker.explain([one])
        assert_inert(wording, one)
