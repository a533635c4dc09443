"""Settings by flat names, as scikit-learn writes them: `history__depth` is `config.history.depth`."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar

from recllm.errors import ConfigError

T = TypeVar("T")

_INSIDE = "__"


def flat(config: Any) -> dict[str, Any]:
    """Every setting of a config and of the configs in it; a config in it is there as a whole, too."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = found[field.name] = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{field.name}{_INSIDE}{name}": inner for name, inner in flat(value).items()}
    return found


def changed(config: T, values: Mapping[str, Any], where: str = "config") -> T:
    """The config with other values; whole parts first, then what is inside them.

    Args:
        config: Is left as it is.
        values: By names as in `flat`.
        where: What to call this place in errors.

    Raises:
        ConfigError: There is no such setting, or it may not have this value.
    """
    fields = [field.name for field in dataclasses.fields(config)]  # type: ignore[arg-type]
    whole: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        field, inside, rest = name.partition(_INSIDE)
        if field not in fields:
            near = difflib.get_close_matches(field, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(fields)}"
            raise ConfigError(f"{where}: there is no setting {field!r}; {hint}")
        if inside:
            parts.setdefault(field, {})[rest] = value
        else:
            whole[field] = value
    config = dataclasses.replace(config, **whole)  # type: ignore[type-var]
    inner: dict[str, Any] = {}
    for field, rest_of in parts.items():
        if not dataclasses.is_dataclass(part := getattr(config, field)):
            name = f"{field}{_INSIDE}{next(iter(rest_of))}"
            raise ConfigError(f"{where}.{field} is {part!r} and has no settings of its own; leave out {name!r}")
        inner[field] = changed(part, rest_of, f"{where}.{field}")
    return dataclasses.replace(config, **inner)  # type: ignore[type-var]
