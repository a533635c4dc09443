"""Catalog items as text for the encoder."""

from datetime import datetime

import pytest

from recllm.errors import PromptError
from recllm.prompting import Prompt, item_values, list_prompts, load_prompt, parse_prompt
from recllm.prompting.items import check_columns, variable_of

ITEM_PROMPTS = [name for name in list_prompts() if name.startswith("item.")]


def test_an_item_reads_well() -> None:
    prompt = load_prompt("item.neutral")
    text = prompt.render(
        title="Toy Story",
        text="A cowboy doll\nis jealous.",
        categories=["Animation", "Comedy"],
        attributes=["director: John Lasseter", "year: 1995"],
    )
    assert text == "Toy Story\nAnimation, Comedy\ndirector: John Lasseter; year: 1995\nA cowboy doll is jealous."


@pytest.mark.parametrize("name", ITEM_PROMPTS)
@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"title": "A lamp"}, "A lamp"),
        ({"title": "A lamp", "text": ""}, "A lamp"),
        ({"title": "A lamp", "text": " A  lamp "}, "A lamp"),
        ({"title": "A lamp", "text": "Warm light"}, "A lamp\nWarm light"),
        ({"title": "", "text": "Warm light"}, "Warm light"),
        ({"text": "Warm light"}, "Warm light"),
        ({"title": "A lamp", "categories": [], "attributes": [""]}, "A lamp"),
        ({"title": "{{text}}", "text": "{{> item_details}}"}, "{{text}}\n{{> item_details}}"),
        ({}, ""),
    ],
)
def test_what_is_not_there_leaves_no_trace(name: str, values: dict[str, object], text: str) -> None:
    assert load_prompt(name).render(**values) == text


@pytest.mark.parametrize("name", ITEM_PROMPTS)
def test_categories_and_attributes_come_before_the_text(name: str) -> None:
    lines = (
        load_prompt(name).render(title="T", text="D", categories=["a", "b"], attributes=["c: d", "e: f"]).split("\n")
    )
    assert lines[0] == "T"
    assert lines[1].endswith("a, b")
    assert lines[2:] == ["c: d; e: f", "D"]


def test_item_values() -> None:
    fields = {
        "item_id": "r1",
        "title": "A lamp",
        "text": "Warm",
        "categories": ["home", "light"],
        "brand_name": "Lux",
        "year": 1995.0,
        "price": 2.55,
        "tags": ["x", "y"],
        "photo": "https://example.org/a.png",
        "manual": "long " * 40,
        "nothing": None,
        "blank": " ",
    }
    values = item_values(fields)
    assert values == {
        "title": "A lamp",
        "text": "Warm",
        "categories": ["home", "light"],
        "attributes": ["brand name: Lux", "year: 1995", "price: 2.55", "tags: x, y"],
    }
    assert load_prompt("item.neutral").render(**values).startswith("A lamp\nhome, light\nbrand name: Lux")
    assert item_values({"item_id": "1"}) == {}


def prompt_of(**variables: str) -> Prompt:
    schema = "".join(f"    {name}: {kind}\n" for name, kind in variables.items())
    uses = "".join(f"{{{{#if {name}}}}}{{{{/if}}}}" for name in variables)
    return parse_prompt(f"---\ninput:\n  schema:\n{schema}---\n{uses}", "item.own")


@pytest.mark.parametrize(
    ("column", "variable"),
    [
        ("brand", "brand"),
        ("Brand Name", "brand_name"),
        ("price (EUR)", "price_eur"),
        ("_hidden", "hidden"),
        ("2024 sales", "column_2024_sales"),
        ("this", "column_this"),
        ("Else", "column_else"),
        ("attributes", "column_attributes"),
        ("title", "title"),
        ("Text", "column_text"),
        ("", "column_e3b0c4"),
        ("标题", "column_c3405f"),
        ("作者", "column_7d4146"),
    ],
)
def test_a_column_has_one_variable(column: str, variable: str) -> None:
    assert variable_of(column) == variable
    prompt_of(**{variable: "string?"})


FIELDS = {
    "item_id": "r1",
    "title": "A lamp",
    "text": "Warm",
    "categories": ["home", "light"],
    "Brand Name": "Lux",
    "price": 2.55,
    "pages": "12",
    "new": True,
    "tags": ["x", None, "y"],
    "made": datetime(2024, 5, 6, 7, 8),
    "manual": "long " * 40,
}


def test_a_prompt_gets_the_columns_that_it_names() -> None:
    prompt = prompt_of(
        title="string",
        brand_name="string?",
        price="number?",
        pages="number?",
        new="boolean?",
        tags="list?",
        manual="string?",
        attributes="list?",
    )
    assert item_values(FIELDS, prompt) == {
        "title": "A lamp",
        "brand_name": "Lux",
        "price": 2.55,
        "new": True,
        "tags": ["x", "y"],
        "manual": "long " * 40,
        "attributes": ["made: 2024-05-06 07:08"],
    }
    assert item_values({"title": "A", "price": float("nan"), "tags": []}, prompt) == {"title": "A"}


def test_a_text_holds_all_entries() -> None:
    prompt = prompt_of(categories="string?", tags="string?", price="string?", new="string?", attributes="string?")
    assert item_values(FIELDS, prompt) == {
        "categories": "home, light",
        "tags": "x, y",
        "price": "2.55",
        "new": "yes",
        "attributes": "Brand Name: Lux; pages: 12; made: 2024-05-06 07:08",
    }


def test_the_shipped_prompts_get_what_they_got_without_naming_anything() -> None:
    assert item_values(FIELDS, load_prompt("item.neutral")) == item_values(FIELDS)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"colour": "string?"}, "prompt 'item.own' has the variable 'colour', which no column .* give: brand, title"),
        ({"brand": "string"}, r"needs the variable 'brand'.* declare it as 'string\?'"),
        ({"item_id": "string?"}, "no column"),
        ({"size": "string?"}, "'Size' and 'size' both give"),
    ],
)
def test_a_column_that_the_catalog_does_not_give_is_an_error(variables: dict[str, str], message: str) -> None:
    columns = ["item_id", "brand", "title", "Size", "size"]
    check_columns(prompt_of(title="string?", text="string?", categories="list?", attributes="list?"), columns)
    check_columns(prompt_of(brand="string?"), columns)
    with pytest.raises(PromptError, match=message):
        check_columns(prompt_of(**variables), columns)
