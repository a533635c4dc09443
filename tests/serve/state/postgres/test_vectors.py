"""A search by meaning in SQL: the nearest, as many as were asked for, whatever the filter, or a sentence."""

from collections.abc import Iterator

import numpy as np
import psycopg
import pytest

from recllm.errors import ServeError
from recllm.serve.state.postgres import vectors as module
from recllm.serve.state.postgres.address import Address
from recllm.serve.state.postgres.vectors import ItemVector, ItemVectors
from tests.serve.state.postgres.server import Postgres

WIDTH, ITEMS = 16, 1_000

ONLY_THE_INDEX = "options=-c%20enable_seqscan%3Doff%20-c%20enable_bitmapscan%3Doff%20-c%20enable_sort%3Doff"
"""Has Postgres use the index of vectors where there are so few items that it would rather read them all."""


def made(seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(ITEMS, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def items(vectors: np.ndarray) -> Iterator[ItemVector]:
    for row, vector in enumerate(vectors):
        fields = {"title": f"Thing {row} \0 ü", "categories": ["all", "rare"] if row % 100 == 7 else ["all"]}
        yield ItemVector(f"i{row}", fields, vector)


@pytest.fixture(scope="module")
def address(postgres: Postgres) -> Iterator[Address]:
    if not (postgres.bin.parent / "share" / "postgresql" / "extension" / "vector.control").is_file():
        pytest.skip("this Postgres has no pgvector")
    postgres.run("CREATE SCHEMA IF NOT EXISTS meaning")
    yield Address.of(f"{postgres.address(schema='meaning')}&{ONLY_THE_INDEX}")
    postgres.run("DROP SCHEMA meaning CASCADE")


@pytest.fixture(scope="module")
def table(address: Address) -> Iterator[ItemVectors]:
    table = ItemVectors.open(address)
    table.replace("m1", WIDTH, items(made()))
    yield table
    table.close()


def nearest(vectors: np.ndarray, query: np.ndarray, n: int, rows: np.ndarray | None = None) -> list[str]:
    alike = vectors @ query
    order = np.argsort(-alike) if rows is None else rows[np.argsort(-alike[rows])]
    return [f"i{row}" for row in order[:n]]


def test_the_nearest_are_found_by_the_index(table: ItemVectors) -> None:
    vectors = made()
    shared = 0
    for query in made(1)[:20]:
        found = table.nearest(query, 10)
        shared += len(set(nearest(vectors, query, 10)) & {one.item_id for one in found})
        assert [one.similarity for one in found] == sorted((one.similarity for one in found), reverse=True)
    assert shared >= 180
    assert table.exact == 0
    like = table.nearest_to("i5", 3)
    assert [one.item_id for one in like] == nearest(vectors, vectors[5], 4)[1:]
    assert like[0].similarity == pytest.approx(float(np.sort(vectors @ vectors[5])[-2]), abs=2e-3)
    assert table.nearest_to("none", 3) == []


def test_a_filter_that_leaves_too_few_is_searched_exactly(table: ItemVectors, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, query = made(), made(1)[0]
    rare = np.arange(7, ITEMS, 100)
    assert [one.item_id for one in table.nearest(query, 5, fields={"categories": ["rare"]})] == nearest(
        vectors, query, 5, rare
    )
    monkeypatch.setattr(module, "SCANNED", 50)
    before = table.exact
    found = table.nearest(query, 8, fields={"categories": ["rare"]})
    assert [one.item_id for one in found] == nearest(vectors, query, 8, rare)
    assert table.exact == before + 1
    assert len(table.nearest(query, 99, fields={"categories": ["rare"]})) == len(rare)
    assert table.nearest(query, 5, fields={"categories": ["'; DROP TABLE item_vectors; --"]}) == []


def test_other_programs_search_in_sql(table: ItemVectors, postgres: Postgres) -> None:
    with psycopg.connect(postgres.address()) as connection:
        rows = connection.execute(
            "SELECT item_id, fields ->> 'title' FROM meaning.item_vectors "
            """WHERE fields @> '{"categories": ["rare"]}' """
            "ORDER BY vector <=> (SELECT vector FROM meaning.item_vectors WHERE item_id = 'i7') LIMIT 2"
        ).fetchall()
    assert rows[0] == ("i7", "Thing 7  ü")


def test_an_old_pgvector_is_said_in_a_sentence(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MINIMUM", (99, 0))
    with pytest.raises(
        ServeError, match=r"has pgvector 0\.\d+\.\d+, and 99\.0 or later is needed; install it, and say"
    ):
        ItemVectors.open(address)


def test_another_model_takes_the_place_of_the_former(table: ItemVectors) -> None:
    assert table.kept()[0] == "m1"
    table.add("m1", [ItemVector("new", {"title": "New"}, made()[3]), ItemVector("i4", {}, made()[3])])
    assert {one.item_id for one in table.nearest(made()[3], 3)} == {"i3", "new", "i4"}
    assert len(table.kept()[1]) == ITEMS + 1
    table.replace("m2", 8, [ItemVector("only", {}, np.ones(8, dtype=np.float32))])
    assert table.kept() == ("m2", {"only"})
    with pytest.raises(ServeError):
        table.replace("m3", 8, [ItemVector("wrong", {}, np.ones(9, dtype=np.float32))])
    assert table.kept() == ("m2", {"only"})


def test_a_database_without_pgvector_is_said_in_a_sentence(
    address: Address, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_INSTALLED", "SELECT 1 WHERE false")
    postgres.run("DROP EXTENSION IF EXISTS vector CASCADE")
    postgres.run("DROP ROLE IF EXISTS guest")
    postgres.run("CREATE ROLE guest LOGIN")
    postgres.run("GRANT ALL ON SCHEMA meaning TO guest")
    postgres.run("REVOKE CREATE ON DATABASE postgres FROM PUBLIC")
    guest = Address.of(postgres.address(schema="meaning").replace("recllm@", "guest@"))
    with pytest.raises(
        ServeError, match=r"has no pgvector \(.*\); install it, and let its owner say: CREATE EXTENSION"
    ):
        ItemVectors.open(guest)
    postgres.run("REVOKE ALL ON SCHEMA meaning FROM guest")
    postgres.run("DROP ROLE guest")
