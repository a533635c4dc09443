"""How an item prompt lays an item out: which columns, in which order, with which labels, how much of it is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

import yaml

from recllm.prompting.items import variable_of
from recllm.prompting.template import Prompt, parse_prompt
from recllm.texts import clean_text

Labels = Literal["none", "columns"]

CATEGORY_LABELS = {
    "neutral": "Category",
    "ecommerce": "Product category",
    "education": "Subject",
    "finance": "Financial category",
    "social": "Tags",
}
"""What a domain calls its categories; other columns go by their own names."""


_TEXT_BUT_TITLE = "{{#unlessEquals text title}}\n{{text}}\n{{/unlessEquals}}\n"


@final
@dataclass(frozen=True)
class Layout:
    """A layout, which is written as a prompt file.

    Attributes:
        columns: Which columns of the catalog, in this order.
        labels: Whether a value has its column's name before it; titles and texts never have.
        max_tokens: How much the encoder reads; None: as much as its settings say.
    """

    columns: tuple[str, ...]
    labels: Labels = "columns"
    max_tokens: int | None = None

    def __str__(self) -> str:
        """In one line: `categories, title, text · labelled · 64 tokens`."""
        labelled = {"none": "bare", "columns": "labelled"}[self.labels]
        length = "" if self.max_tokens is None else f" · {self.max_tokens} tokens"
        return f"{', '.join(self.columns)} · {labelled}{length}"

    def source(self, domain: str, description: str, metadata: Mapping[str, Any] | None = None) -> str:
        """The prompt file."""
        types = {variable_of(column): self._type(column) for column in self.columns}
        front: dict[str, Any] = {"description": description, "domain": domain, "input": {"schema": types}}
        if self.max_tokens is not None:
            front["config"] = {"max_tokens": self.max_tokens}
        if metadata:
            front["metadata"] = dict(metadata)
        written = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=110)
        return f"---\n{written}---\n" + "".join(self._part(column, domain) for column in self.columns)

    def prompt(self, name: str, domain: str, description: str, metadata: Mapping[str, Any] | None = None) -> Prompt:
        """The prompt itself, checked."""
        return parse_prompt(self.source(domain, description, metadata), name)

    @staticmethod
    def _type(column: str) -> str:
        return "list?" if column == "categories" else "string?"

    def _part(self, column: str, domain: str) -> str:
        variable = variable_of(column)
        if column == "title":
            return "{{title}}\n"
        if column == "text":
            # A catalog in which titles are the beginnings of texts would say them twice.
            return _TEXT_BUT_TITLE if "title" in self.columns else "{{text}}\n"
        label = CATEGORY_LABELS.get(domain, "Category") if column == "categories" else column.replace("_", " ").strip()
        before = f"{_plain(label)}: " if self.labels == "columns" else ""
        value = f"{{{{{variable}}}}}"
        if column == "categories":
            value = "{{#each categories}}{{this}}{{#unless @last}}, {{/unless}}{{/each}}"
        return f"{{{{#if {variable}}}}}\n{before}{value}\n{{{{/if}}}}\n"


def _plain(label: str) -> str:
    """A column's name as text of a prompt: what would be a tag is none."""
    return clean_text(label.replace("{", "(").replace("}", ")"))
