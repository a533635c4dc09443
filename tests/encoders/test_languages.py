"""A backbone that does not know a catalog's language is warned of, with the name of one that does; others are not."""

import warnings
from pathlib import Path

import polars as pl
import pytest

from recllm.data.catalog import Catalog
from recllm.encoders.backbone import Backbone, resolve_backbone
from recllm.encoders.languages import MULTILINGUAL, foreign, languages_of
from recllm.recommender import Recommender
from recllm.testing import tiny_backbone
from tests.small import config_for

CHINESE = ["这是一个关于狗的故事", "职业的选择与发展是人生的重要主题之一", "程序设计基础"]
GERMAN = ["die geschichte von dem hund und der frau die mit ihm im regen ist", "das haus und der garten für ein kind"]
ENGLISH = ["The story of a dog and the man who is with him in the rain", "The house and the garden for a child"]


def told(folder: Path, card: str, name: str = "some") -> Backbone:
    """A copy of a tiny backbone, with a card."""
    path = tiny_backbone(folder, [*GERMAN, *ENGLISH])
    (path / "README.md").write_text(card, encoding="utf-8")
    return Backbone(name, path, "path")


@pytest.mark.parametrize(
    ("card", "languages"),
    [
        ("---\nlanguage: en\nlicense: mit\n---\n# x", {"en"}),
        ("---\nlicense: mit\nlanguage:\n- en\n- zh\ntags:\n- de\n---\n", {"en", "zh"}),
        ("---\nlanguage: [en, fr]\n---\n", {"en", "fr"}),
        ("---\nlicense: mit\n---\nlanguage: de\n", set()),
        ("language: de", set()),
        ("", set()),
    ],
)
def test_what_a_card_says(tmp_path: Path, card: str, languages: set[str]) -> None:
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert languages_of(Backbone("x", tmp_path, "path")) == languages


def test_who_says_nothing_knows_what_the_tokenizer_knows(tmp_path: Path) -> None:
    silent = told(tmp_path, "")
    assert foreign(silent, GERMAN) is None
    assert foreign(silent, ENGLISH) is None
    said = foreign(silent, CHINESE)
    assert said is not None
    assert said.startswith("the items are written in Chinese, which the backbone 'some' does not know: 100% of what")
    assert MULTILINGUAL in said


def test_what_the_card_says_counts(tmp_path: Path) -> None:
    english = told(tmp_path, "---\nlanguage: en\n---\n")
    assert foreign(english, ENGLISH) is None
    assert "in German, which the backbone 'some' does not know (it knows English)" in str(foreign(english, GERMAN))


@pytest.mark.parametrize(("card", "name"), [("---\nlanguage: multilingual\n---", "some"), ("", "x/Multilingual-e5")])
def test_a_multilingual_one_knows_all(tmp_path: Path, card: str, name: str) -> None:
    assert foreign(told(tmp_path, card, name), CHINESE) is None


def test_texts_of_no_language_are_no_reason_to_warn() -> None:
    embedded = resolve_backbone("minilm")
    assert languages_of(embedded) == {"en"}
    assert foreign(embedded, ["X-100", "Y-200", "4711"]) is None
    assert foreign(embedded, []) is None


def test_a_fit_says_it_once(tiny: Path) -> None:
    titles = [text * 2 for text in CHINESE]
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": ["a", "b", "c"], "title": titles}))
    with pytest.warns(UserWarning, match="written in Chinese") as seen:
        rec = Recommender.from_catalog(catalog, config=config_for(tiny, adaptation=None))
    assert len([one for one in seen if "written in" in str(one.message)]) == 1
    assert any("written in Chinese" in note for note in rec.report.notes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        english = Catalog.from_frame(pl.DataFrame({"item_id": ["a", "b"], "title": ENGLISH}))
        Recommender.from_catalog(english, config=config_for(tiny, adaptation=None))
