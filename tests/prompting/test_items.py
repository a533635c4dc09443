"""Catalog items as text for the encoder."""

import pytest

from recllm.prompting import item_values, list_prompts, load_prompt

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
