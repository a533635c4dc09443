import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recllm.config import check_types, from_mapping, read_toml, to_mapping, write_toml
from recllm.errors import ConfigError


@dataclass(frozen=True)
class Adaptation:
    lora_rank: int = 4
    steps: int | None = 3

    def __post_init__(self) -> None:
        if self.lora_rank < 1:
            raise ConfigError(f"lora_rank must be at least 1; got {self.lora_rank}")


@dataclass(frozen=True)
class Example:
    name: str = "minilm"
    depth: int = 1
    rate: float = 1e-3
    exact: bool = False
    mode: Literal["none", "lora"] = "none"
    choice: Literal["none", "all"] | None = None
    window: int | float | None = None
    channels: tuple[str, ...] = ("text", "history")
    bounds: tuple[float, float | None] = (0.0, None)
    weights: Mapping[str, float] = field(default_factory=dict)
    label: str | None = None
    limit: str | int | None = "all"
    adaptation: Adaptation | None = field(default_factory=Adaptation)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
not_none = text.filter(lambda value: value != "none")
numbers = st.floats(allow_nan=False)
examples = st.builds(
    Example,
    name=text,
    depth=st.integers(),
    rate=numbers,
    exact=st.booleans(),
    mode=st.sampled_from(["none", "lora"]),
    choice=st.sampled_from(["none", "all", None]),
    window=st.none() | st.integers() | numbers,
    channels=st.lists(text, max_size=3).map(tuple),
    bounds=st.tuples(numbers, st.none() | numbers),
    weights=st.dictionaries(text, numbers, max_size=3),
    label=st.none() | not_none,
    limit=st.none() | not_none | st.integers(),
    adaptation=st.none() | st.builds(Adaptation, lora_rank=st.integers(1, 64), steps=st.none() | st.integers()),
)


def identical(left: Any, right: Any) -> bool:
    """Equal, and of the same types all the way down (1 == 1.0 == True is not enough)."""
    return left == right and repr(left) == repr(right)


@given(examples)
def test_toml_round_trip_is_exact(tmp_path, example: Example) -> None:
    write_toml(example, tmp_path / "recllm.toml")
    assert identical(read_toml(Example, tmp_path / "recllm.toml"), example)


@given(examples)
def test_json_round_trip_is_exact(example: Example) -> None:
    assert identical(from_mapping(Example, json.loads(json.dumps(to_mapping(example)))), example)


def test_special_floats_survive_toml(tmp_path) -> None:
    for value in (math.inf, -math.inf, 1e-300, 1e300):
        write_toml(Example(rate=value), tmp_path / "c.toml")
        assert read_toml(Example, tmp_path / "c.toml").rate == value
    write_toml(Example(rate=math.nan), tmp_path / "c.toml")
    assert math.isnan(read_toml(Example, tmp_path / "c.toml").rate)


def test_toml_is_readable(tmp_path) -> None:
    write_toml(Example(adaptation=Adaptation(steps=None)), tmp_path / "c.toml")
    lines = (tmp_path / "c.toml").read_text(encoding="utf-8").splitlines()
    assert 'name = "minilm"' in lines
    assert lines[-3:] == ["[adaptation]", "lora_rank = 4", 'steps = "none"']
    assert not any(line.startswith("label") for line in lines), "None as the default is left out"
    write_toml(Example(adaptation=None), tmp_path / "c.toml")
    assert 'adaptation = "none"' in (tmp_path / "c.toml").read_text(encoding="utf-8")


def test_none_is_a_word_only_where_none_is_allowed() -> None:
    assert from_mapping(Example, {"mode": "none"}).mode == "none"
    assert from_mapping(Example, {"choice": "none"}).choice == "none"
    assert from_mapping(Example, {"name": "none"}).name == "none"
    assert from_mapping(Example, {"adaptation": "none"}).adaptation is None
    assert from_mapping(Example, {"window": "none"}).window is None


def test_numbers_keep_their_type() -> None:
    assert type(from_mapping(Example, {"rate": 1}).rate) is float
    assert type(from_mapping(Example, {"window": 1}).window) is int
    assert type(from_mapping(Example, {"window": 1.0}).window) is float


@pytest.mark.parametrize(
    ("mapping", "parts"),
    [
        ({"dept": 2}, ["config: unknown key 'dept' (did you mean 'depth'?)", "known keys: name, depth, rate"]),
        ({"adaptation": {"rank": 2}}, ["config.adaptation: unknown key 'rank'", "lora_rank, steps"]),
        ({"adaptation": {"lora_rank": 0}}, ["config.adaptation: lora_rank must be at least 1; got 0"]),
        ({"adaptation": {"lora_rank": "4"}}, ["config.adaptation.lora_rank: wanted a whole number; got '4'"]),
        ({"adaptation": 3}, ["config.adaptation: wanted a table"]),
        ({"depth": True}, ["config.depth: wanted a whole number; got True"]),
        ({"depth": 1.0}, ["config.depth: wanted a whole number; got 1.0"]),
        ({"depth": None}, ["config.depth: wanted a whole number; got None"]),
        ({"rate": "fast"}, ["config.rate: wanted a number; got 'fast'"]),
        ({"rate": True}, ["config.rate: wanted a number"]),
        ({"exact": 1}, ["config.exact: wanted true or false; got 1"]),
        ({"mode": "full"}, ["config.mode: wanted one of 'none', 'lora'; got 'full'"]),
        ({"window": "wide"}, ["config.window: wanted a whole number or a number; got 'wide'"]),
        ({"channels": "text"}, ["config.channels: wanted a list; got 'text'"]),
        ({"channels": ["text", 3]}, ["config.channels[1]: wanted a string; got 3"]),
        ({"bounds": [1.0]}, ["config.bounds: wanted 2 values; got 1"]),
        ({"weights": {"a": "b"}}, ["config.weights.a: wanted a number"]),
        ([], ["config: wanted a table"]),
    ],
)
def test_errors_name_the_place(mapping, parts) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(Example, mapping)
    for part in parts:
        assert part in str(caught.value)


def test_a_missing_key_is_named() -> None:
    @dataclass(frozen=True)
    class Needs:
        path: str
        size: int = 1

    with pytest.raises(ConfigError, match="model: missing 'path'"):
        from_mapping(Needs, {}, where="model")


def test_a_field_of_another_type_is_a_programming_error() -> None:
    @dataclass(frozen=True)
    class Odd:
        things: set = field(default_factory=set)

    with pytest.raises(TypeError, match=r"config\.things"):
        from_mapping(Odd, {"things": [1]})


def test_check_types_guards_direct_construction() -> None:
    check_types(Example())
    check_types(Example(adaptation=None, label=None, limit=3, channels=()))
    with pytest.raises(ConfigError, match=r"Example\.depth: wanted a whole number; got '2'"):
        check_types(Example(depth="2"))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"Example\.name"):
        check_types(dataclasses.replace(Example(), name=object()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"depth = ", "is not valid TOML"),
        (b"\xff\xfe", "is not a UTF-8 text file"),
        (b"depht = 1", "bad.toml: unknown key 'depht'"),
        (b"[adaptation]\nlora_rank = 0", "bad.toml.adaptation: lora_rank must be at least 1"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, content, message) -> None:
    (tmp_path / "bad.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_toml(Example, tmp_path / "bad.toml")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_opened(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot read the config file"):
        read_toml(Example, tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot write the config file"):
        write_toml(Example(), tmp_path / "absent" / "c.toml")
    with pytest.raises(ConfigError, match="half a character"):
        write_toml(Example(name="\ud800"), tmp_path / "c.toml")
