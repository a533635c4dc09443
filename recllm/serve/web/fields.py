"""What a field may hold: ids, texts, counts and columns, each with its bounds."""

from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.fields import FieldInfo

from recllm.errors import DataError
from recllm.serve.settings import Settings

WORDS = r"^[^\x00]*$"
"""Any characters but NUL, which ends a text in many programs that may read it later."""

ITEMS_AT_ONCE = 10_000
"""No array is read further than this, whatever the settings allow."""

Id = Annotated[str, StringConstraints(min_length=1, max_length=1_000, pattern=WORDS)]
Kind = Annotated[str, StringConstraints(max_length=100, pattern=WORDS)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2_000, pattern=WORDS)]
Wish = Annotated[
    str,
    StringConstraints(
        max_length=2_000,
        # After "of" comes something that is no blank, in Python's sense and in Unicode's.
        pattern=r"^([Mm]ore|[Ll]ess|[Nn]ever) of "
        r"[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200f\u2028\u2029\u202f\u205f\u3000][^\x00]*$",
    ),
]
LongText = Annotated[str, StringConstraints(max_length=20_000, pattern=WORDS)]
FARTHEST = 10**15
"""Numbers end where not every language counts exactly any more."""

Whole = Annotated[int, Field(ge=-FARTHEST, le=FARTHEST)]
Number = Annotated[float, Field(ge=-FARTHEST, le=FARTHEST, allow_inf_nan=False)]

Scalar = bool | Whole | Number | LongText
Column = Scalar | None | Annotated[list[Scalar], Field(max_length=200)]
"""A value of a catalog's or profile's column."""

Few: dict[str, Any] = {"max_length": ITEMS_AT_ONCE, "json_schema_extra": {"x-limit": "max_array"}}
"""An array of at most `Settings.max_array`."""

NAMES: dict[str, Any] = {"propertyNames": {"minLength": 1, "maxLength": 100, "pattern": WORDS}}
"""How a schema says what `check_names` checks."""


def check_names(columns: dict[str, Any]) -> dict[str, Any]:
    """Hold the names of columns against what a name may be.

    Raises:
        ValueError: One is none.
    """
    for name in columns:
        if not 0 < len(name) <= 100 or "\x00" in name:
            raise ValueError("a column's name has 1 to 100 characters, none of them NUL.")
    return columns


def _decoded(raw: Any) -> str:
    try:
        return unquote_to_bytes(str(raw)).decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 when its percent signs are read; encode it as UTF-8 first.") from None


PathId = Annotated[str, BeforeValidator(_decoded), *Id.__metadata__]
"""An id in a path. Routes see it before it is decoded: `%2F` is a slash of the id, and `/` one of the path."""


def _counted(value: Any) -> Any:
    """JSON knows one kind of number: 5.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


COUNTED = BeforeValidator(_counted)


class Body(BaseModel):
    """JSON that is read to the letter: no unknown fields, no numbers in quotes."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True, frozen=True)


class Asked(BaseModel):
    """What stands behind the question mark of an address, where everything is text; no unknown names."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, frozen=True)


def _limit(field: FieldInfo) -> str | None:
    extra = field.json_schema_extra
    return str(extra["x-limit"]) if isinstance(extra, dict) and "x-limit" in extra else None


def check_limits(settings: Settings, body: BaseModel) -> None:
    """Hold what came against what this server allows at most.

    Raises:
        DataError: A list is asked for that is too long, or too many things were sent.
    """
    for name, field in type(body).model_fields.items():
        if (limit := _limit(field)) is None:
            continue
        value, most = getattr(body, name), getattr(settings, limit)
        if isinstance(value, list):
            check_length(settings, value, name)
        elif value is not None and value > most:
            raise DataError(f"{name} is at most {most} on this server; got {value}.")


def check_length(settings: Settings, values: list[Any], name: str) -> None:
    """Refuse an array that is longer than this server allows.

    Raises:
        DataError: It is.
    """
    if len(values) > settings.max_array:
        raise DataError(f"{name} may have {settings.max_array} entries; got {len(values)}: send them in parts.")
