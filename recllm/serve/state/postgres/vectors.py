"""Vectors of items in pgvector: a search by meaning, in SQL, for whatever other program uses the database."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self, final

import numpy as np
from numpy.typing import NDArray

from recllm.errors import ServeError, require
from recllm.serve.state.postgres.address import Address
from recllm.serve.state.postgres.connection import close, connect, refused

if TYPE_CHECKING:
    import psycopg

MINIMUM = (0, 8)
"""Of pgvector: since then a search with a filter reads on where its first finds are filtered away."""

SCANNED = 20_000
"""Items that a search reads at most before it is done exactly."""

_INSTALLED = """
SELECT e.extversion, n.nspname FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
WHERE e.extname = 'vector'
"""

_TABLE = """
CREATE TABLE {name} (
    item_id text COLLATE "C" PRIMARY KEY, model text NOT NULL, fields jsonb NOT NULL, vector halfvec({width}) NOT NULL
)
"""


class Near(NamedTuple):
    """An item that was found, and the cosine between its vector and the one that was asked for."""

    item_id: str
    similarity: float


class ItemVector(NamedTuple):
    """An item with its columns and its vector, float32 [width]."""

    item_id: str
    fields: Mapping[str, Any]
    vector: NDArray[np.float32]


@final
class ItemVectors:
    """The table `item_vectors` of a shop's schema; use `open`. One thread uses it at a time.

    Args:
        address: Of the shop.
        connection: That may write.

    Attributes:
        exact: How many searches were done exactly, because the index gave fewer items than were asked for.
    """

    def __init__(self, address: Address, connection: "psycopg.Connection[Any]") -> None:
        self._address, self._connection = address, connection
        self.exact = 0

    @classmethod
    def open(cls, address: Address) -> Self:
        """Open the table; pgvector is installed if the database has it.

        Raises:
            ServeError: The database has no pgvector, or an old one, or none that this user may install.
            StorageError: The database refuses, or cannot be reached.
        """
        require("pgvector", "scale")
        with refused(address):
            connection = connect(address, writes=True, patient=True)
            try:
                _install(address, connection)
            except BaseException:
                close(connection)
                raise
        return cls(address, connection)

    def close(self) -> None:
        """Close the connection."""
        close(self._connection)

    # -- writing ------------------------------------------------------------------------------------------------------

    def kept(self) -> tuple[str, set[str]]:
        """Of which model there are vectors, "" for none, and of which items."""
        with refused(self._address, reading=True):
            if self._rows("SELECT to_regclass('item_vectors')")[0][0] is None:
                return "", set()
            rows = self._rows("SELECT item_id, model FROM item_vectors")
        return (rows[0][1] if rows else ""), {item_id for item_id, _ in rows}

    def replace(self, model: str, width: int, items: Iterable[ItemVector]) -> None:
        """Put vectors of a model in the place of all there are; searches find the former until it is done.

        Args:
            model: Its fingerprint.
            width: Of the vectors.
            items: All of them.
        """
        with refused(self._address), self._connection.transaction():
            self._connection.execute("DROP TABLE IF EXISTS next_vectors")
            self._connection.execute(_TABLE.format(name="next_vectors", width=width).encode())
            self._copy("next_vectors", model, items)
            self._connection.execute("CREATE INDEX ON next_vectors USING hnsw (vector halfvec_cosine_ops)")
            self._connection.execute("CREATE INDEX ON next_vectors USING gin (fields jsonb_path_ops)")
            self._connection.execute("DROP TABLE IF EXISTS item_vectors")
            self._connection.execute("ALTER TABLE next_vectors RENAME TO item_vectors")
        with refused(self._address):
            self._connection.execute("ANALYZE item_vectors")

    def add(self, model: str, items: Iterable[ItemVector]) -> None:
        """Put in items of the same model; earlier ones of the same id are replaced."""
        with refused(self._address), self._connection.transaction():
            self._connection.execute("CREATE TEMP TABLE more (LIKE item_vectors) ON COMMIT DROP")
            self._copy("more", model, items)
            self._connection.execute(
                "INSERT INTO item_vectors SELECT * FROM more ON CONFLICT (item_id) "
                "DO UPDATE SET model = excluded.model, fields = excluded.fields, vector = excluded.vector"
            )

    def _copy(self, table: str, model: str, items: Iterable[ItemVector]) -> None:
        half = require("pgvector", "scale").HalfVector
        with self._connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT text)".encode()) as copying:
            for one in items:
                # JSON of Postgres knows no NUL.
                fields = json.dumps(dict(one.fields), ensure_ascii=True, default=str).replace("\\u0000", "")
                copying.write_row((one.item_id, model, fields, half(one.vector).to_text()))

    # -- searching ----------------------------------------------------------------------------------------------------

    def nearest(self, vector: NDArray[np.float32], n: int, *, fields: Mapping[str, Any] | None = None) -> list[Near]:
        """Items whose vectors point the same way, the nearest first.

        Args:
            vector: float32 [width].
            n: How many.
            fields: What their columns must hold, such as `{"categories": ["lamps"]}`: those values among others.
        """
        with refused(self._address, reading=True):
            found = self._nearest(vector, n, fields, exact=False)
            if len(found) < n:
                self.exact += 1
                found = self._nearest(vector, n, fields, exact=True)
        return found

    def nearest_to(self, item_id: str, n: int, *, fields: Mapping[str, Any] | None = None) -> list[Near]:
        """Items that are most like one; see `nearest`. None, where that one is not known."""
        with refused(self._address, reading=True):
            rows = self._rows("SELECT vector::text FROM item_vectors WHERE item_id = %s", item_id)
        if not rows:
            return []
        vector = np.asarray(json.loads(rows[0][0]), dtype=np.float32)
        return [one for one in self.nearest(vector, n + 1, fields=fields) if one.item_id != item_id][:n]

    def _nearest(
        self, vector: NDArray[np.float32], n: int, fields: Mapping[str, Any] | None, *, exact: bool
    ) -> list[Near]:
        said = require("pgvector", "scale").HalfVector(vector).to_text()
        where, values = ("WHERE fields @> %s::jsonb", (json.dumps(dict(fields)),)) if fields else ("", ())
        with self._searching(exact):
            rows = self._rows(
                f"SELECT item_id, 1 - (vector <=> %s::halfvec) FROM item_vectors {where} "
                "ORDER BY vector <=> %s::halfvec LIMIT %s",
                said,
                *values,
                said,
                n,
            )
        return [Near(*row) for row in rows]

    @contextlib.contextmanager
    def _searching(self, exact: bool) -> Iterator[None]:
        with self._connection.transaction():
            if exact:  # an index of vectors gives an order; without index scans there is none but the true one
                for plan, on in (("indexscan", "off"), ("seqscan", "on"), ("bitmapscan", "on"), ("sort", "on")):
                    self._connection.execute(f"SET LOCAL enable_{plan} TO {on}".encode())
            else:
                self._connection.execute("SET LOCAL hnsw.iterative_scan TO strict_order")
                self._connection.execute(f"SET LOCAL hnsw.max_scan_tuples TO {SCANNED}".encode())
            yield

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement.encode(), values or None).fetchall()


def _install(address: Address, connection: "psycopg.Connection[Any]") -> None:
    psycopg = require("psycopg", "scale")
    found = connection.execute(_INSTALLED).fetchall()
    if not found:
        try:
            # Not in the schema of the shop: it is every shop's.
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        except psycopg.Error as error:
            raise ServeError(
                f"{address.name} has no pgvector ({str(error).splitlines()[0][:80]}); install it, and let its owner "
                "say: CREATE EXTENSION vector."
            ) from error
        found = connection.execute(_INSTALLED).fetchall()
    version, schema = found[0]
    if tuple(int(part) for part in version.split(".")[:2]) < MINIMUM:
        raise ServeError(
            f"{address.name} has pgvector {version}, and {'.'.join(map(str, MINIMUM))} or later is needed; install it, "
            "and say: ALTER EXTENSION vector UPDATE."
        )
    quoted = psycopg.sql.Identifier(schema)
    connection.execute(
        psycopg.sql.SQL("SET search_path TO {}, {}, public").format(psycopg.sql.Identifier(address.schema), quoted)
    )
