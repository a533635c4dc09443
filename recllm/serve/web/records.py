"""Items and users as they come: recllm's own shape and Gorse's."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from recllm.serve.state.records import ItemRecord, UserRecord
from recllm.serve.web.fields import NAMES, Body, Column, Few, Id, Kind, LongText, check_names

MOST_COLUMNS = 100
_COLUMNS: dict[str, Any] = {**NAMES, "maxProperties": MOST_COLUMNS}

LabelsOf = (
    Annotated[dict[str, Column], AfterValidator(check_names), Field(max_length=MOST_COLUMNS, json_schema_extra=NAMES)]
    | Annotated[list[LongText], Field(max_length=200)]
    | None
)


class _Columns(Body):
    """A row of a table: besides the named fields, any columns."""

    model_config = ConfigDict(extra="allow", json_schema_extra=_COLUMNS)
    __pydantic_extra__: dict[str, Column] = Field(init=False)

    @model_validator(mode="after")
    def _named(self) -> Self:
        if len(self.__pydantic_extra__) > MOST_COLUMNS:
            raise ValueError(f"there are more than {MOST_COLUMNS} columns; leave out what says nothing.")
        check_names(self.__pydantic_extra__)
        return self


class OwnItem(_Columns):
    """An item; the columns are those of the catalog that the model was made from, such as `price`."""

    item_id: Id
    title: LongText | None = Field(None, examples=["Warm lamp"])
    text: LongText | None = Field(None, description="What it is, in sentences.")
    categories: LongText | list[LongText] | None = Field(None, max_length=20_000, examples=[["Living"]])
    hidden: bool = Field(False, description="Keep it out of lists.")

    def record(self) -> ItemRecord:
        """As it is kept."""
        fields = self.model_dump(exclude={"item_id", "hidden"}, exclude_none=True)
        return ItemRecord(self.item_id, fields, self.hidden)


class GorseItem(Body):
    """An item as Gorse's clients send it; its `Comment` is the title."""

    ItemId: Id
    IsHidden: bool = False
    Categories: list[LongText] | None = Field(None, max_length=200)
    Timestamp: LongText | None = None
    Labels: LabelsOf = None
    Comment: LongText | None = None

    def record(self) -> ItemRecord:
        """As it is kept."""
        fields = {
            "title": self.Comment or None,
            "categories": self.Categories,
            "labels": self.Labels,
            "timestamp": self.Timestamp or None,
        }
        return ItemRecord(self.ItemId, {name: value for name, value in fields.items() if value}, self.IsHidden)


class OwnUser(_Columns):
    """A user: whatever is known beside events, and what is never to be listed."""

    user_id: Id
    exclude: Annotated[list[Id], Field(**Few, description="Items that are never listed to this user.")] = Field(
        default_factory=list
    )

    def record(self) -> UserRecord:
        """As it is kept."""
        fields = self.model_dump(exclude={"user_id", "exclude"}, exclude_none=True)
        return UserRecord(self.user_id, fields, tuple(self.exclude))


class GorseUser(Body):
    """A user as Gorse's clients send it."""

    UserId: Id
    Labels: LabelsOf = None
    Subscribe: list[Kind] | None = Field(None, max_length=200)
    Comment: LongText | None = None

    def record(self) -> UserRecord:
        """As it is kept."""
        fields: dict[str, Any] = {"labels": self.Labels, "subscribe": self.Subscribe, "comment": self.Comment}
        return UserRecord(self.UserId, {name: value for name, value in fields.items() if value})


def _shape(value: Any) -> str:
    names = value if isinstance(value, Mapping) else {}
    return "gorse" if "ItemId" in names or "UserId" in names else "own"


AnyItem = Annotated[Annotated[OwnItem, Tag("own")] | Annotated[GorseItem, Tag("gorse")], Discriminator(_shape)]
AnyUser = Annotated[Annotated[OwnUser, Tag("own")] | Annotated[GorseUser, Tag("gorse")], Discriminator(_shape)]
