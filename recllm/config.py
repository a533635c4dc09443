"""Configuration: frozen dataclasses that are written to and read from TOML, strictly.

A config class is a frozen dataclass beside the class that uses it. Fields may be `bool`, `int`, `float`, `str`,
`Literal[…]`, `tuple[…]`, `Mapping[str, …]`, another such dataclass, and unions of these with or without `None`; what
values they may take stands in the annotation, too: `Annotated[float, Within("[0, 1)")]`. `checked` holds a class to its
annotations however it is built, from Python or from a file. What several fields have to agree on is checked in
`__post_init__` by raising `ConfigError`; this module adds where the value stands.

An unknown key, a missing one or a value of the wrong type is an error that names the place and what was wanted.
TOML has no null: a field that may be `None` but is something else by default says so with the string `"none"`
(which such a field therefore cannot hold as a string, unless a `Literal` lists it).
"""

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, final

import tomli_w

from recllm.errors import ConfigError

__all__ = [
    "Count",
    "Filled",
    "NotNegative",
    "Number",
    "Positive",
    "Within",
    "Word",
    "check_types",
    "checked",
    "from_mapping",
    "read_toml",
    "to_mapping",
    "write_toml",
]

T = TypeVar("T")

NONE = "none"


@final
@dataclasses.dataclass(frozen=True)
class Within:
    """The numbers a field may hold, as an interval: "[0, 1)" is 0 and more, but below 1. NaN lies in none."""

    interval: str

    def __contains__(self, value: float) -> bool:
        low, high = (float(end.replace("∞", "inf")) for end in self.interval[1:-1].split(","))
        above = value >= low if self.interval[0] == "[" else value > low
        return above and (value <= high if self.interval[-1] == "]" else value < high)

    def __str__(self) -> str:
        low, high = (end.strip() for end in self.interval[1:-1].split(","))
        if high != "∞":
            return f"in {self.interval}"
        return "that is finite" if low == "-∞" else f"{'of at least' if self.interval[0] == '[' else 'above'} {low}"


@final
@dataclasses.dataclass(frozen=True)
class Filled:
    """For texts and lists: at least one character that is no space, or one value."""

    def __contains__(self, value: str | tuple[Any, ...]) -> bool:
        return bool(value.strip() if isinstance(value, str) else value)

    def __str__(self) -> str:
        return "that is not empty"


Count = Annotated[int, Within("[1, ∞)")]
Number = Annotated[float, Within("(-∞, ∞)")]
Positive = Annotated[float, Within("(0, ∞)")]
NotNegative = Annotated[float, Within("[0, ∞)")]
Word = Annotated[str, Filled()]


def from_mapping(cls: type[T], mapping: Mapping[str, Any], where: str = "config") -> T:
    """Build a config object from nested mappings.

    Args:
        cls: The dataclass to build.
        mapping: Field names and values, as from `to_mapping`, JSON or TOML.
        where: What to call this place in errors.

    Raises:
        ConfigError: If a key is unknown or missing, or a value is of the wrong type or refused by the class.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: wanted a table with the keys of {cls.__name__}; got {_shown(mapping)}")
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise ConfigError(f"{where}: unknown key {key!r}{_nearest(key, fields)}; known keys: {', '.join(fields)}")
    missing = [name for name, field in fields.items() if name not in mapping and _default(field) is dataclasses.MISSING]
    if missing:
        raise ConfigError(f"{where}: missing {', '.join(map(repr, missing))}; add it, there is no default")
    hints = _hints(cls)
    values = {name: _read(hints[name], value, f"{where}.{name}") for name, value in mapping.items()}
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}") from error


def to_mapping(config: Any) -> dict[str, Any]:
    """Nested plain values of a config object, ready for JSON; `from_mapping` restores it exactly."""
    plain: dict[str, Any] = _plain(config, type(config).__name__)
    return plain


def checked(cls: type[T]) -> type[T]:
    """Hold a config class to its annotations; to be written below `@dataclass`.

    What a file may say, Python may say: a list becomes a tuple, a table another config. A `__post_init__` of the class
    finds values that are of their types.
    """
    own: Any = getattr(cls, "__post_init__", None)

    def __post_init__(self: Any) -> None:
        check_types(self)
        if own is not None:
            own(self)

    setattr(cls, "__post_init__", __post_init__)  # noqa: B010  (mypy knows no such method of T)
    return cls


def check_types(config: Any) -> None:
    """Check a config's fields against their annotations, and bring them into their types.

    Raises:
        ConfigError: If a value does not fit its field.
    """
    hints = _hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        fitting = _read(hints[field.name], value, f"{type(config).__name__}.{field.name}")
        if fitting is not value:
            object.__setattr__(config, field.name, fitting)  # the class is frozen


def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls, include_extras=True)


def read_toml(cls: type[T], path: str | Path) -> T:
    """Read a config object from a TOML file.

    Raises:
        ConfigError: If the file is missing, is not TOML, or does not fit `cls`.
    """
    path = Path(path)
    try:
        mapping = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the config file {path}: {error.strerror}; check the path") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a UTF-8 text file; a TOML config was wanted") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return from_mapping(cls, mapping, where=path.name)


def write_toml(config: Any, path: str | Path) -> None:
    """Write a config object to a TOML file that `read_toml` restores exactly.

    Raises:
        ConfigError: If the file cannot be written.
    """
    text = tomli_w.dumps(_plain(config, type(config).__name__, toml=True))
    try:
        Path(path).write_text(text, encoding="utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError(f"cannot write {path}: a value holds half a character ({error.reason})") from error
    except OSError as error:
        raise ConfigError(f"cannot write the config file {path}: {error.strerror}") from error


# --- reading -----------------------------------------------------------------------------------------------------


def _read(hint: Any, value: Any, where: str) -> Any:
    """`value` as an instance of `hint`, or a ConfigError that names `where`."""
    if type(value).__module__ == "numpy":
        value = value.tolist()  # a number of NumPy is a number
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _read_annotated(hint, arguments, value, where)
    if origin in (Union, types.UnionType):
        return _read_union(arguments, value, where)
    if origin is Literal:
        if any(value == option and type(value) is type(option) for option in arguments):
            return value
        raise ConfigError(f"{where}: wanted one of {', '.join(map(repr, arguments))}; got {_shown(value)}")
    if origin is tuple:
        return _read_tuple(hint, arguments, value, where)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise ConfigError(f"{where}: wanted a table; got {_shown(value)}")
        return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        if isinstance(value, hint):  # type: ignore[arg-type]
            return value
        return from_mapping(hint, value, where)  # type: ignore[arg-type]
    if hint is float and type(value) is int:
        return float(value)
    if hint in (bool, int, float, str):
        if type(value) is hint:  # exactly: True is not a number here
            return value
    elif hint is type(None):
        if value is None:
            return None
    else:
        raise TypeError(f"{where}: config fields cannot be of type {hint!r}")
    raise ConfigError(f"{where}: wanted {_wanted(hint)}; got {_shown(value)}")


def _read_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    literals = [word for option in options if typing.get_origin(option) is Literal for word in typing.get_args(option)]
    if type(None) in options and (value is None or (value == NONE and NONE not in literals)):
        return None
    options = tuple(option for option in options if option is not type(None))
    # An exact type before a convertible one, so that 3 stays an int in `float | int`.
    for option in sorted(options, key=lambda option: option is not type(value)):
        try:
            return _read(option, value, where)
        except ConfigError:
            if len(options) == 1 or (dataclasses.is_dataclass(option) and isinstance(value, Mapping)):
                raise  # its error is more exact than ours below
    raise ConfigError(f"{where}: wanted {' or '.join(_wanted(option) for option in options)}; got {_shown(value)}")


def _read_annotated(hint: Any, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    found = _read(arguments[0], value, where)
    if all(found in limit for limit in arguments[1:]):
        return found
    raise ConfigError(f"{where}: wanted {_wanted(hint)}; got {_shown(value)}")


def _read_tuple(hint: Any, arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: wanted {_wanted(hint)}; got {_shown(value)}")
    if arguments[-1] is not Ellipsis and len(value) != len(arguments):
        raise ConfigError(f"{where}: wanted {len(arguments)} values; got {len(value)}")
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    pairs = zip(hints, value, strict=True)
    return tuple(_read(item_hint, item, f"{where}[{i}]") for i, (item_hint, item) in enumerate(pairs))


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _nearest(key: str, known: typing.Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _wanted(hint: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", type(None): repr(NONE)}
    if hint in names:
        return names[hint]
    if typing.get_origin(hint) is Annotated:
        inner, *limits = typing.get_args(hint)
        return " ".join([_wanted(inner), *map(str, limits)])
    if typing.get_origin(hint) is Literal:
        return f"one of {', '.join(map(repr, typing.get_args(hint)))}"
    if typing.get_origin(hint) is tuple:
        return "a list"
    return "a table"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


# --- writing -----------------------------------------------------------------------------------------------------


def _plain(value: Any, where: str, *, toml: bool = False) -> Any:
    """`value` as lists, mappings, numbers, texts and None; TOML has no None, so there it is left out or a word."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field, getattr(value, field.name)) for field in dataclasses.fields(value) if field.init]
        return {
            field.name: _plain(item, f"{where}.{field.name}", toml=toml)
            for field, item in fields
            if not (toml and item is None and _default(field) is None)
        }
    if isinstance(value, tuple | list):
        return [_plain(item, where, toml=toml) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item, where, toml=toml) for key, item in value.items()}
    if value is None or type(value) in (bool, int, float, str):
        return NONE if toml and value is None else value
    raise ConfigError(f"{where}: a config holds plain values; got {_shown(value)} of type {type(value).__name__}")
