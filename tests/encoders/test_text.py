"""Items to vectors, and whitening."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from threadpoolctl import threadpool_limits

from recllm.data.catalog import Catalog
from recllm.encoders import text
from recllm.encoders.text import TextEncoder, TextEncoderConfig, Whitening, describe_items
from recllm.errors import ConfigError, PromptError
from recllm.prompting.template import load_prompt, parse_prompt
from recllm.testing import TINY_WIDTH, ToyShop, tiny_backbone


def test_equal_texts_have_equal_vectors(tiny: Path) -> None:
    encoder = TextEncoder(TextEncoderConfig(backbone=str(tiny)))
    vectors = encoder.encode(["garden thing", "books thing", "garden thing"])
    assert vectors.shape == (3, TINY_WIDTH)
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert not np.allclose(vectors[0], vectors[1])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_the_cache_is_used_and_damage_is_repaired(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLLM_CACHE", str(tmp_path))
    encoder = TextEncoder(TextEncoderConfig(backbone=str(tiny)))
    first = encoder.encode(["garden", "books"])
    (file,) = tmp_path.rglob("*.safetensors")
    with monkeypatch.context() as patched:
        patched.setattr(TextEncoder, "_encode_distinct", lambda *_: pytest.fail("should come from the cache"))
        np.testing.assert_array_equal(encoder.encode(["garden", "books"]), first)
    file.write_bytes(file.read_bytes()[:40])
    np.testing.assert_array_equal(encoder.encode(["garden", "books"]), first)


def test_the_weights_are_part_of_the_key(tiny: Path, tmp_path: Path) -> None:
    other = tiny_backbone(tmp_path, ["garden", "books"], seed=1)
    one, two = (TextEncoder(TextEncoderConfig(backbone=str(folder))) for folder in (tiny, other))
    assert one.identity() != two.identity()
    assert one.identity() == TextEncoder(TextEncoderConfig(backbone=str(tiny))).identity()


def test_prompt_and_length_are_part_of_the_key(tiny: Path) -> None:
    keys = {
        TextEncoder(TextEncoderConfig(backbone=str(tiny), prompt=prompt, max_tokens=length)).identity()
        for prompt in ("item.neutral", "item.ecommerce")
        for length in (16, 32)
    }
    assert len(keys) == 4


def test_a_prompt_may_say_that_less_is_read(tiny: Path) -> None:
    encoder = TextEncoder(TextEncoderConfig(backbone=str(tiny), max_tokens=16))
    whole = encoder.identity()
    for number, read in ((8, 8), (16, 16), (99, 16)):
        encoder.prompt = replace(encoder.prompt, max_tokens=number)
        assert (encoder.max_tokens, encoder.load().max_seq_length) == (read, read)
        assert (encoder.identity() == whole) is (read == 16)


def test_a_prompt_reads_columns_that_are_there(toy: ToyShop) -> None:
    prompt = parse_prompt("---\ninput:\n  schema:\n    brand: string?\n---\nby {{brand}}")
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": ["x1", "x2"], "title": ["a", "b"], "Brand": ["Lux", None]}))
    assert describe_items(catalog, prompt) == ["by Lux", "by"]
    with pytest.raises(PromptError, match="'brand', which no column"):
        describe_items(toy.catalog, prompt)


def test_a_text_without_signs_that_can_be_read_says_nothing(tiny: Path) -> None:
    vectors = TextEncoder(TextEncoderConfig(backbone=str(tiny))).encode([" ", "toys thing", ""])
    assert vectors.shape == (3, TINY_WIDTH)
    assert not vectors[0].any()
    assert vectors[1].any()
    assert np.isfinite(vectors).all()


def test_items_are_put_into_words(toy: ToyShop) -> None:
    texts = describe_items(toy.catalog, load_prompt("item.neutral"))
    assert len(texts) == len(toy.catalog)
    assert texts[0].strip() == "garden thing number 0"


def test_an_item_without_any_text_still_has_words() -> None:
    catalog = Catalog.from_frame(pl.DataFrame({"item_id": ["x1"], "title": [""], "text": [""]}))
    assert describe_items(catalog, load_prompt("item.neutral"))[0].strip() == "x1"


def test_whitening_makes_directions_equal() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 6)) + 5).astype(np.float32)
    whitening = Whitening.fit(vectors, shrinkage=0.0)
    white = (vectors - whitening.mean) @ whitening.matrix
    np.testing.assert_allclose(np.cov(white.T), np.eye(6), atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(whitening(vectors), axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(whitening(vectors).mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(np.cov(whitening(vectors).T), np.eye(6) / 6, atol=0.02)


@pytest.mark.parametrize("items", [0, 1, 3])
def test_whitening_of_hardly_any_items_is_finite(items: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(items, 8)).astype(np.float32)
    assert np.isfinite(Whitening.fit(vectors, 0.1)(np.ones((2, 8), dtype=np.float32))).all()


def test_config_errors_say_what_is_allowed() -> None:
    with pytest.raises(ConfigError, match=r"\[0, 1\]"):
        TextEncoderConfig(shrinkage=2)


def test_what_visitors_write_is_not_kept_on_disk(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLLM_CACHE", str(tmp_path))
    encoder = TextEncoder(TextEncoderConfig(backbone=str(tiny)))
    vectors = encoder.encode(["a secret wish"], keep=False)
    assert not list(tmp_path.rglob("*.safetensors"))
    np.testing.assert_array_equal(encoder.encode(["a secret wish"]), vectors)


def test_the_transformer_is_loaded_once(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TextEncoder(TextEncoderConfig(backbone=str(tiny)))
    encoder.encode(["one"], keep=False)
    monkeypatch.setattr(TextEncoder, "load", lambda *_: pytest.fail("it is there already"))
    encoder.encode(["two"], keep=False)


def test_whitened_vectors_have_the_same_bits_however_many_threads_there_are() -> None:
    """What is kept of them, such as a graph over a million, is looked for by these bits."""
    vectors = np.random.default_rng(0).normal(size=(20_000, 96)).astype(np.float32)
    whitening, usual = Whitening.fit(vectors, shrinkage=0.1), torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with threadpool_limits(threads):
            found.append(whitening(vectors).tobytes())
    torch.set_num_threads(usual)
    assert found[0] == found[1]


def test_many_items_are_whitened_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    whitening = Whitening.fit(vectors, shrinkage=0.1)
    whole = whitening(vectors)
    monkeypatch.setattr(text, "ROWS", 7)
    kept = vectors.copy()
    np.testing.assert_array_equal(whitening(vectors), whole)
    np.testing.assert_array_equal(vectors, kept)
    np.testing.assert_array_equal(whitening(vectors, spent=True), whole)
