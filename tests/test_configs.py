"""Every config class of the package, found by looking: each field refuses what it cannot be, however it is given."""

import dataclasses
import importlib
import math
import pkgutil
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest

import recllm
from recllm.config import Filled, Within, from_mapping, read_toml, to_mapping
from recllm.errors import ConfigError

BEYOND = 10**6
"""Farther out than any bound."""


def config_classes() -> list[type]:
    found: dict[str, type] = {}
    for module in pkgutil.walk_packages(recllm.__path__, "recllm."):
        if "._data" in module.name:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and value.__module__.startswith("recllm.") and value.__name__.endswith("Config"):
                found[f"{value.__module__}.{value.__qualname__}"] = value
    return [found[name] for name in sorted(found)]


CLASSES = config_classes()
FIELDS = [(cls, field.name) for cls in CLASSES for field in dataclasses.fields(cls)]  # type: ignore[arg-type]


def hint_of(cls: type, name: str) -> Any:
    return typing.get_type_hints(cls, include_extras=True)[name]


def wrong_values(hint: Any) -> Iterator[Any]:
    """Values that no field of this annotation may hold: other types, not-numbers, and what lies out of bounds."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        inner, *limits = arguments
        yield from wrong_values(inner)
        for limit in limits:
            beyond = (-BEYOND, -0.5, 0, 0.5, 1, BEYOND) if isinstance(limit, Within) else ("", "  ", ())
            kind = {int: int, float: float}.get(inner, lambda value: value)
            yield from (kind(value) for value in beyond if kind(value) not in limit)
    elif type(None) in arguments:
        (inner,) = (one for one in arguments if one is not type(None))
        yield from (value for value in wrong_values(inner) if value is not None)
    elif origin is Literal:
        yield from ("full of hope", "", arguments[0].upper(), None, 1, True, [arguments[0]])
    elif origin is tuple:
        yield from ("text", None, 3, {"a": 1}, object())
        yield from ([value] for value in wrong_values(arguments[0]))
    elif dataclasses.is_dataclass(hint):
        yield from ("text", None, 3, True, [], {"no such key": 1}, object())
    else:
        values = {
            bool: ("true", 1, 0, None, [], {}, math.nan),
            int: ("many", "3", 2.5, 3.0, True, None, [3], {}, math.nan, math.inf, np.float64(3), np.bool_(True)),
            float: ("fast", "1", True, None, [1.0], {}, math.nan, math.inf, -math.inf, np.float32("nan"), 1j),
            str: (None, 3, 1.5, True, ["a"], b"a", Path("a")),
        }
        yield from values[hint]


def right_values(hint: Any) -> Iterator[Any]:
    """Values just inside the bounds, in the forms that Python has for them."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    inner = arguments[0] if origin is Annotated else hint
    if inner is int:
        yield from (np.int64(8), 8)
    elif inner is float:
        limits = [limit for limit in arguments[1:] if isinstance(limit, Within)]
        yield from (value for value in (0.3, np.float32(0.25), 1) if all(float(value) in limit for limit in limits))


def test_all_are_found_and_frozen() -> None:
    names = {cls.__name__ for cls in CLASSES}
    assert names >= {"RecommenderConfig", "TextEncoderConfig", "RankingConfig", "FinetuneConfig", "ExplanationConfig"}
    for cls in CLASSES:
        assert dataclasses.is_dataclass(cls)
        assert cls.__dataclass_params__.frozen, f"{cls} can be changed after it was checked"  # type: ignore[attr-defined]


@pytest.mark.parametrize(("cls", "name"), FIELDS, ids=[f"{cls.__name__}.{name}" for cls, name in FIELDS])
def test_a_field_refuses_what_it_cannot_be(cls: type, name: str) -> None:
    wrong = list(wrong_values(hint_of(cls, name)))
    assert len(wrong) >= 5
    for value in wrong:
        for make in (lambda **given: cls(**given), lambda **given: from_mapping(cls, given)):
            with pytest.raises(ConfigError, match=f"^[^\n]*{name}[^\n]*$") as caught:
                make(**{name: value})
            assert caught.value.__cause__ is None or isinstance(caught.value.__cause__, ConfigError)


@pytest.mark.parametrize(("cls", "name"), FIELDS, ids=[f"{cls.__name__}.{name}" for cls, name in FIELDS])
def test_a_field_takes_what_fits(cls: type, name: str) -> None:
    for value in right_values(hint_of(cls, name)):
        built = getattr(cls(**{name: value}), name)
        assert built == pytest.approx(float(value))
        assert type(built) in (int, float), "numbers are Python's own, so that they can be written"
        assert to_mapping(cls(**{name: value}))


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_number_has_bounds_and_none_is_infinite(cls: type) -> None:
    """A plain `float` would take NaN: the annotation has to say what may come."""
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        assert not bare_numbers(hint_of(cls, field.name)), f"{cls.__name__}.{field.name}: say within what"


def bare_numbers(hint: Any) -> bool:
    if typing.get_origin(hint) is Annotated:
        inner = typing.get_args(hint)[0]
        return inner not in (int, float) and bare_numbers(inner)
    return hint in (int, float) or any(bare_numbers(one) for one in typing.get_args(hint) if one is not Ellipsis)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('domain = "shop"', "domain 'shop' is unknown; choose one of"),
        ('finetune = "full"', "finetune: wanted one of 'none', 'lora'; got 'full'"),
        ("liked_from = nan", "liked_from: wanted a number that is finite; got nan"),
        ("[training]\nsteps = 'many'", "training.steps: wanted a whole number; got 'many'"),
        ("[training]\nlearning_rate = inf", r"training.learning_rate: wanted a number above 0; got inf"),
        ("[ranking]\nhidden = 2.5", "ranking.hidden: wanted a whole number; got 2.5"),
        ("[ranking]\nhidden = true", "ranking.hidden: wanted a whole number; got True"),
        ("[ranking]\nhidden = 0", "ranking.hidden: wanted a whole number of at least 1; got 0"),
        ("[text]\nshrinkage = 1.5", r"text.shrinkage: wanted a number in \[0, 1\]; got 1.5"),
        ("[retrieval]\nhalf_lives = []", "half_lives: wanted a list that is not empty"),
        ("[explanation]\nnever_cite = ['']", "never_cite.0.: wanted a string that is not empty; got ''"),
        ('[adaptation]\nmethod = "magic"', "method 'magic' is unknown"),
        ('[adaptation]\nplaces = ["head", "head"]', "places names"),
    ],
)
def test_a_file_is_read_as_strictly(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "recllm.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        read_toml(recllm.RecommenderConfig, tmp_path / "recllm.toml")


def test_what_a_file_may_say_python_may_say() -> None:
    config = recllm.RecommenderConfig(retrieval={"half_lives": [1, 2]}, adaptation=None)  # type: ignore[arg-type]
    assert config.retrieval.half_lives == (1.0, 2.0)
    assert hash(config) == hash(dataclasses.replace(config))


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1)", (0, 0.5), (-1e-9, 1, math.nan)),
        ("(0, 1]", (1e-9, 1), (0, 1.1)),
        ("(-∞, ∞)", (-1e300, 1e300), (math.inf, -math.inf, math.nan)),
    ],
)
def test_intervals(interval: str, inside: tuple[float, ...], outside: tuple[float, ...]) -> None:
    assert all(value in Within(interval) for value in inside)
    assert not any(value in Within(interval) for value in outside)


def test_filled() -> None:
    assert " a " in Filled()
    assert (0,) in Filled()
    assert " \n" not in Filled()
    assert () not in Filled()
