"""The interface to language models, the canned one, and the check of JSON that models write."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

import recllm
from recllm.errors import BackboneError, ConfigError, GenerationError
from recllm.prompting import CannedGenerator, Choice, Generator, open_generator
from recllm.prompting.replies import read_json


def test_canned_texts_come_in_order_and_run_out() -> None:
    model = CannedGenerator(["one", GenerationError("it is down"), "two"])
    assert model.generate("s", "a") == "one"
    with pytest.raises(GenerationError, match="it is down"):
        model.generate("s", "b", max_tokens=1)
    assert model.generate("s", "c", schema={"type": "object"}) == "two"
    with pytest.raises(GenerationError, match="no texts left; give CannedGenerator more"):
        model.generate("s", "d")
    assert model.asked == [("s", "a"), ("s", "b"), ("s", "c"), ("s", "d")]


def test_canned_choices_come_in_order_and_run_out() -> None:
    model = CannedGenerator(choices=[1, None, 2, TimeoutError("late")])
    assert model.choose("s", "a", ["x", "y"]) == 1
    assert model.choose("s", "b", ["x", "y"]) is None
    with pytest.raises(GenerationError, match="chose option 2 of 2"):
        model.choose("s", "c", ["x", "y"])
    with pytest.raises(TimeoutError, match="late"):
        model.choose("s", "d", ["x", "y"])
    with pytest.raises(GenerationError, match="no choices left"):
        model.choose("s", "e", ["x", "y"])
    assert len(model.asked) == 5


def test_what_a_canned_generator_says_of_itself() -> None:
    assert (CannedGenerator().name, CannedGenerator().writes) == ("canned", True)
    model = CannedGenerator(["x"], name="smollm2", writes=False)
    assert (model.name, model.writes) == ("smollm2", False)


class Longest(Generator):
    """The least that a generator has to define."""

    name, writes = "longest", False

    def generate(
        self, system: str, user: str, *, max_tokens: int = 160, schema: Mapping[str, Any] | None = None
    ) -> str:
        return user

    def choose(self, system: str, user: str, options: Sequence[str]) -> int | None:
        return max(range(len(options)), key=lambda row: len(options[row]), default=None)


def test_many_questions_are_asked_one_by_one_unless_a_model_knows_better() -> None:
    questions = [Choice("s", "u", ["a", "bb"]), ("s", "u", ["ccc", "d", "e"]), Choice("s", "u", [])]
    assert Longest().choose_many(questions) == [1, 0, None]
    assert Longest().choose_many([]) == []


@pytest.mark.parametrize("name", ["no/such model", "gpt-4", "", "../somewhere", "/nowhere", "a/b/c"])
def test_a_name_that_is_no_model(name: str) -> None:
    with pytest.raises(BackboneError, match="language model") as caught:
        open_generator(name)
    assert "smollm2" in str(caught.value)


@pytest.mark.parametrize("name", ["http://", "https://#model", "HTTP://:80/v1#m"])
def test_a_url_that_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match="write it like 'http://localhost:8000/v1#model'"):
        open_generator(name)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, recllm.prompting, recllm.prompting.endpoint, recllm.prompting.local\n"
        "import recllm; recllm.CannedGenerator, recllm.open_generator('http://localhost:1/v1#m')\n"
        "print({'torch', 'transformers', 'llguidance', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_public_names() -> None:
    assert recllm.CannedGenerator is CannedGenerator
    assert recllm.open_generator is open_generator


SCHEMA = {
    "type": "object",
    "properties": {
        "reason": {"type": "string", "maxLength": 10},
        "cited": {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        "tone": {"enum": ["plain", 1, None]},
        "sure": {"type": "number"},
    },
    "required": ["reason"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "text",
    [
        '{"reason": "dogs"}',
        ' {"reason": "dogs", "cited": [1, 2], "tone": null, "sure": 0.5}\n',
        '{"reason": "", "tone": 1, "sure": 1}',
    ],
)
def test_json_that_obeys(text: str) -> None:
    assert read_json(text, SCHEMA)["reason"] in ("dogs", "")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "where JSON and nothing else was wanted"),
        ('{"reason": "dogs"} there', "where JSON and nothing else was wanted"),
        ("[" * 100_000, "where JSON and nothing else was wanted"),
        ("9" * 5000, "where JSON and nothing else was wanted"),
        ("[]", "the value is not of type object"),
        ("{}", "the value lacks 'reason'"),
        ('{"reason": 1}', "'reason' of the value is not of type string"),
        ('{"reason": "much too long"}', "'reason' of the value is longer than 10 characters"),
        ('{"reason": "", "more": 1}', "the value has the unknown key 'more'"),
        ('{"reason": "", "cited": []}', "'cited' of the value has 0 entries"),
        ('{"reason": "", "cited": [1, 2, 3]}', "'cited' of the value has 3 entries"),
        ('{"reason": "", "cited": [1, true]}', "entry 1 of 'cited' of the value is not of type integer"),
        ('{"reason": "", "tone": true}', "'tone' of the value is none of those offered"),
        ('{"reason": "", "sure": false}', "'sure' of the value is not of type number"),
    ],
)
def test_json_that_does_not(text: str, wrong: str) -> None:
    with pytest.raises(GenerationError, match=wrong) as caught:
        read_json(text, SCHEMA)
    assert len(str(caught.value)) < 250
