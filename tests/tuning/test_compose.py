"""Prompts from nothing but a catalog: which domain, which columns, in which order, and why."""

from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recllm
from recllm.data.language import language_of
from recllm.encoders.text import TextEncoderConfig, describe_items
from recllm.errors import DataError
from recllm.prompting.template import parse_prompt
from recllm.tuning.arms import MOST_ARMS, item_layouts
from recllm.tuning.compose import LEAST_TEXT, MOST_COLUMNS, compose
from recllm.tuning.domains import choose_domain
from recllm.tuning.profile import CatalogProfile


def catalog_of(columns: Mapping[str, Any], items: int = 60) -> recllm.Catalog:
    """Values are repeated over the items; `{}` in a text becomes the item's number."""
    frame = {"item_id": [f"i{item}" for item in range(items)]}
    for name, values in columns.items():
        listed = values if isinstance(values, list) else [values]
        cells = [listed[item % len(listed)] for item in range(items)]
        frame[name] = [c.replace("{}", str(i)) if isinstance(c, str) else c for i, c in enumerate(cells)]
    return recllm.Catalog.from_frame(pl.DataFrame(frame, strict=False))


DOMAINS = {
    "shop": (
        "ecommerce",
        {"title": ["linen shirt {}", "oak chair {}", "desk {}"], "brand": ["A", "B"], "price": [3, 4]},
    ),
    "german shop": ("ecommerce", {"title": ["Stuhl {}", "Tisch {}"], "preis": [3.5, 4.0], "farbe": ["rot", "blau"]}),
    "wine list": (
        "ecommerce",
        {"title": ["Château {}"], "text": ["Red wine from Bordeaux, for lamb."], "vintage": [1999, 2001]},
    ),
    "courses": (
        "education",
        {
            "title": ["Algebra {}", "Statistics {}"],
            "instructor": ["Ann", "Bob"],
            "text": ["In this course students learn proofs."],
        },
    ),
    "chinese courses": ("education", {"title": ["高等数学 {}"], "text": ["本课程面向大学一年级学生，介绍微积分。"]}),
    "french courses": (
        "education",
        {"title": ["Physique {}"], "text": ["Un cours pour les étudiants de première année."]},
    ),
    "questions": (
        "social",
        {
            "title": ["How do I clean a grinder {}?", "Why is my stout flat {}?"],
            "votes": [1, 2],
            "text": ["I tried twice."],
        },
    ),
    "posts": (
        "social",
        {"title": ["sunrise {}"], "hashtags": ["#sky", "#sea"], "likes": [4, 9], "username": ["a", "b"]},
    ),
    "funds": (
        "finance",
        {"title": ["Balanced fund {}", "Treasury bond {}"], "isin": ["X1{}"], "sector": ["Energy", "Banks"]},
    ),
    "german funds": ("finance", {"title": ["Deka Fonds {}"], "text": ["Anleihen und Aktien aus Europa"]}),
    "films": (
        "neutral",
        {"title": ["The Long Night {}"], "text": ["A detective returns home."], "director": ["A", "B", "C"]},
    ),
    "books": (
        "neutral",
        {"title": ["Emma {}"], "author": ["Jane Austen", "Mary Shelley"], "text": ["A novel of manners."]},
    ),
    "manual pages": ("neutral", {"title": ["tar {}"], "text": ["Archive files. Extract an archive to a folder."]}),
    "recipes": (
        "neutral",
        {"title": ["Lentil soup {}"], "text": ["Boil the lentils with onions."], "minutes": [20, 30]},
    ),
    "fashion": ("ecommerce", {"product_name": ["Ada {}", "Bob {}"], "garment_group": ["Top", "Knit"]}),
    "groceries": ("ecommerce", {"product_name": ["Oats {}", "Rye {}"], "aisle": ["grains", "bakery"]}),
    "moocs with prices": (
        "education",
        {
            "course_title": ["Guitar {}"],
            "price": [10, 20],
            "num_lectures": [3, 4],
            "text": ["For learners of any level."],
        },
    ),
    "shares": ("finance", {"title": ["Acme {}", "Globex {}"], "symbol": ["ACM", "GLX"], "exchange": ["N", "L"]}),
    "short posts": ("social", {"text": ["what a day {} #sunny", "@ann see you there {}"]}),
    "videos": ("social", {"title": ["Trip {}"], "likes": [3, 5], "comments": [1, 2], "channel": ["a", "b"]}),
    "news": ("neutral", {"headline": ["Storm hits the coast {}"], "text": ["Hundreds left their homes on Monday."]}),
    "hotels": ("neutral", {"title": ["Hotel Sol {}"], "city": ["Rome", "Oslo"], "text": ["Rooms near the station."]}),
    "songs": ("neutral", {"title": ["Blue {}"], "artist": ["A", "B"], "album": ["X", "Y"]}),
    "jobs": (
        "neutral",
        {"title": ["Nurse {}", "Welder {}"], "city": ["Rome", "Oslo"], "text": ["Full time, at once."]},
    ),
    "films with props": (
        "neutral",
        {"title": ["Dusk {}"], "text": ["A thief steals a necklace.", "Two friends at sea.", "A war ends."]},
    ),
    "neither a shop nor a school": (
        "neutral",
        {"title": ["Thing {}"], "text": ["A mug.", "A course.", "A lamp for students.", "A lecture on furniture."]},
    ),
    "ids only": ("neutral", {"title": ["{}"]}),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_the_domain_is_chosen_by_columns_and_words_and_neutral_where_nothing_is_plain(name: str) -> None:
    wanted, columns = DOMAINS[name]
    found = choose_domain(CatalogProfile.of(catalog_of(columns)))
    assert found.name == wanted, found


LANGUAGES = {
    "en": "The story of a dog and the man who is with him in the rain",
    "de": "Die Geschichte von dem Hund und der Frau, die mit ihm im Regen ist",
    "fr": "Le chat est dans la maison avec une souris et des enfants pour le soir",
    "es": "El perro y la casa de los niños que vive en el campo con una vaca",
    "zh": "这是一个关于狗的故事",
    "ja": "これは犬の物語です",
    "ko": "이것은 개에 관한 이야기입니다",
    "ru": "Это история о собаке",
    "": "Xk 7 qwrt zzz",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_language_is_told_by_script_or_by_function_words(language: str) -> None:
    assert language_of([LANGUAGES[language]] * 3) == language


def test_what_is_no_word_is_left_out_and_the_prompt_says_why() -> None:
    shop = catalog_of(
        {
            "title": ["linen shirt {}", "oak chair {}"],
            "categories": ["Clothes", "Furniture"],
            "maker": ["Nord", "Sud", "Ost"],
            "text": "A very plain thing of good cloth or wood, number {}.",
            "sku": "S-{}",
            "picture": "https://example.org/{}.png",
            "code": "AB-0{}7",
            "price": [3.5, 4.5],
            "sold": [True, False],
            "season": ["summer"],
            "stuff": ["cloth", "wood"],
        }
    )
    composed = compose(shop)
    assert composed.layout.columns == ("categories", "title", "maker", "text")
    reasons = {
        "sku": "ids", "picture": "links", "code": "codes", "price": "numbers", "sold": "yes or no",
        "season": "all items have the same", "stuff": "stand in the text already",
    }  # fmt: skip
    assert set(composed.left) == set(reasons)
    for column, reason in reasons.items():
        assert reason in composed.left[column]
    again = parse_prompt(composed.prompt.source, "item.composed")
    assert again.digest == composed.prompt.digest
    assert set(again.metadata["composed"]["reads"]) == {"title", "categories", "maker", "text"}
    assert set(again.metadata["composed"]["leaves_out"]) == set(reasons)
    said = describe_items(shop, again)[0]
    assert said.splitlines()[:3] == ["Product category: Clothes", "linen shirt 0", "maker: Nord"]
    assert "S-0" not in said


def test_a_text_that_the_encoder_would_spell_is_left_out_where_there_is_something_else() -> None:
    courses = catalog_of({"title": "TsinghuaX+02{}X+sp", "text": ["本课程介绍微积分{}", "唐诗宋词欣赏{}"]})
    composed = compose(courses)
    assert composed.layout.columns == ("title",), "codes share parts, such as whose course it is"
    assert "sign by sign" in composed.left["text"]
    alone = catalog_of({"text": ["本课程介绍微积分{}", "唐诗宋词欣赏{}"]})
    assert compose(alone).layout.columns == ("text",), "something has to be read"
    english = catalog_of({"title": "AB+02{}X", "text": ["A course in calculus {}", "Poems of the Tang {}"]})
    assert compose(english).layout.columns == ("title", "text")


def test_years_are_words_and_other_numbers_are_not() -> None:
    films = catalog_of({"title": "Long Night {}", "year": [1950, 1972, 1999], "votes": [3, 1800, 12]})
    composed = compose(films)
    assert composed.layout.columns == ("title", "year")
    assert "numbers" in composed.left["votes"]
    assert describe_items(films, composed.prompt)[0] == "Long Night 0\nyear: 1950"


def test_further_columns_leave_the_text_its_room() -> None:
    wide = {f"facet{n}": [f"{word} thing of some kind {n}" for word in ("red", "blue", "old")] for n in range(9)}
    shop = catalog_of({"title": "thing {}", "text": "Number {} is something that people like. " * 6, **wide})
    assert len(compose(shop).layout.columns) == 2 + MOST_COLUMNS
    short = compose(shop, TextEncoderConfig(max_tokens=48))
    assert 2 < len(short.layout.columns) < 2 + MOST_COLUMNS
    assert "would leave the text no room" in " ".join(short.left.values())
    assert LEAST_TEXT < 48


def test_a_column_may_have_any_name() -> None:
    odd = {
        "{{role}}": ["a b", "c d"],
        "类别": ["x y", "z w"],
        "Über Länge": ["long one", "short one"],
        "2nd": ["p q", "r s"],
    }
    shop = catalog_of({"title": ["oak chair {}", "linen shirt {}"], **odd})
    composed = compose(shop)
    assert set(composed.layout.columns) == {"title", *odd}
    said = describe_items(shop, composed.prompt)[0]
    for value in ("a b", "x y", "long one", "p q"):
        assert value in said
    assert "{{" not in said


def test_columns_that_a_prompt_cannot_tell_apart_are_left_out() -> None:
    shop = catalog_of({"title": ["oak chair {}"], "Main colour": ["red", "blue"], "main_colour": ["dark", "pale"]})
    composed = compose(shop)
    assert composed.layout.columns == ("title",)
    assert set(composed.left.values()) == {"another column has nearly the same name"}
    for layout in item_layouts(composed):
        assert describe_items(shop, layout.prompt("item.arm", "neutral", "d"))[0] == "oak chair 0"


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=12).filter(
            lambda name: name.strip() and name.strip().lower() not in ("item_id", "id")
        ),
        st.lists(st.text(max_size=30), min_size=1, max_size=5),
        min_size=1,
        max_size=4,
    )
)
def test_any_catalog_gets_a_prompt_that_reads_it(columns: dict[str, list[str]]) -> None:
    frame = pl.DataFrame(
        {"item_id": list("abcdefgh"), **{k: [v[i % len(v)] for i in range(8)] for k, v in columns.items()}}
    )
    try:
        catalog = recllm.Catalog.from_frame(frame)
    except DataError:
        return  # two columns mean the same, or so
    composed = compose(catalog)
    assert len(describe_items(catalog, composed.prompt)) == 8
    for layout in item_layouts(composed):
        assert len(describe_items(catalog, layout.prompt("item.arm", "neutral", "d"))) == 8


def test_arms_are_all_different_and_begin_with_the_composed_layout() -> None:
    shop = catalog_of(
        {"title": "chair {}", "categories": ["A", "B"], "text": "words {}", "maker": ["x y", "z w"], "price": [1, 2]}
    )
    composed = compose(shop)
    arms = item_layouts(composed)
    assert arms[0] == composed.layout
    assert len(set(arms)) == len(arms) == MOST_ARMS
    assert {arm.labels for arm in arms} == {"columns", "none"}
    assert len({arm.max_tokens for arm in arms}) > 2
    assert len(item_layouts(composed, 5)) == 5
    assert any("price" in arm.columns for arm in arms), "what was left out may be better than it looks"
    bare = [arm for arm in arms if set(arm.columns) <= {"title", "text"}]
    assert all(arm.labels == "columns" for arm in bare), "without labels nothing would differ"


def test_a_catalog_without_items_cannot_be_composed_for() -> None:
    empty = recllm.Catalog.from_frame(pl.DataFrame({"item_id": [], "title": []}))
    with pytest.raises(DataError, match="without items"):
        compose(empty)
