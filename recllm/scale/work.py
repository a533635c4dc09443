"""What a worker does of a job: a shard's users, in one file.

What is computed for a user depends, in its last bits, on who is computed together with them: matrices of other heights
are added up in another order. A shard's users, their order and the batches of the model are always the same, and each
worker has one thread; so are the bytes of its file, whoever makes it.
"""

import io
import json
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, final

import polars as pl

from recllm.adaptation.adapters import Adapters
from recllm.artifact.manifest import read_manifest
from recllm.data.interactions import Interactions
from recllm.errors import ArtifactError, RecllmError
from recllm.lists.table import Table
from recllm.model.storage import KIND
from recllm.recommender import Recommender
from recllm.scale.manifest import Manifest, Part, write_part
from recllm.scale.shards import part_name
from recllm.scale.sources import Source, Users

__all__ = ["Failure", "Work", "model_checksum"]

ENDINGS = {"recommend": "parquet", "explain": "parquet", "adapt": "safetensors"}

Kind = Literal["recommend", "explain", "adapt"]


@final
@dataclass(frozen=True)
class Failure:
    """A shard that could not be made, and why."""

    why: str


@final
@dataclass(frozen=True)
class Shard:
    """One of the shards of a job."""

    number: int
    name: str


@final
@dataclass(frozen=True)
class Work:
    """A job, as each worker knows it.

    Attributes:
        kind: What is made.
        model: The folder of the saved recommender.
        checksum: Of that folder; another model is refused.
        out: Where the files go.
        shards: How many there are.
        users: Of whom.
        asked: What the recommender is asked, by name.
        adapters: A folder of adapters, in as many shards.
        lists: A folder of lists whose items are explained, in as many shards.
    """

    kind: Kind
    model: str
    checksum: str
    out: str
    shards: int
    users: Source
    asked: Mapping[str, Any]
    adapters: str | None = None
    lists: str | None = None

    def shard(self, number: int) -> Shard:
        """The shard of this number, and the name of its file."""
        return Shard(number, part_name(number, self.shards, ENDINGS[self.kind]))

    def __call__(self, shard: Shard) -> Part | Failure:
        """Make a shard's file. Only what is wrong with the shard itself is a failure of it."""
        rec = _recommender(self.model, self.checksum)
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always", UserWarning)
                content, rows, users = self._made(rec, shard.number)
            notes = tuple(dict.fromkeys(str(one.message) for one in said if one.category is UserWarning))
            return write_part(Path(self.out), shard.name, content, rows, users, notes)
        except (RecllmError, OSError, MemoryError) as error:
            return Failure(str(error) or type(error).__name__)

    def _made(self, rec: Recommender, number: int) -> tuple[bytes, int, int]:
        """A file's content, its rows and its users."""
        users = self.users.of(rec.user_ids, number, self.shards)
        if self.kind == "adapt":
            made = rec.adapt(users, **self.asked)
            return _saved(made), len(made), len(made)
        adapters = self._adapters(rec, number)
        if self.kind == "recommend":
            lists = rec.recommend(users, adapters=adapters, **self.asked)
            return _packed(lists), len(lists), len(lists.user_ids)
        reasons = self._reasons(rec, users, number)
        return _packed(reasons), len(reasons), len(reasons.user_ids)

    def _reasons(self, rec: Recommender, users: Users, number: int) -> Table[Any]:
        asked = dict(self.asked)
        words = {name: asked.pop(name) for name in ("generator", "level", "audience") if name in asked}
        if self.lists is None:
            items: Any = rec.recommend(users, **asked)
        else:
            name = part_name(number, self.shards, ENDINGS["recommend"])
            table = pl.read_parquet(io.BytesIO(Manifest.read(Path(self.lists)).content(name)))
            listed = table.group_by("user_id", maintain_order=True).agg("item_id")
            items = dict(listed.iter_rows())
            users = users.of_users(items) if isinstance(users, Interactions) else [u for u in users if u in items]
        return rec.explain(users, items, **asked, **words)

    def _adapters(self, rec: Recommender, number: int) -> Adapters | None:
        if self.adapters is None:
            return None
        name = part_name(number, self.shards, ENDINGS["adapt"])
        content = Manifest.read(Path(self.adapters)).content(name)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / name
            file.write_bytes(content)
            return Adapters.load(file, rec)


def model_checksum(folder: Path) -> str:
    """Of the manifest of a saved recommender, which has the checksums of all its files.

    Raises:
        ArtifactError: It is none.
    """
    manifest = read_manifest(folder)
    if manifest["kind"] != KIND:
        raise ArtifactError(f"{folder} holds a saved {manifest['kind']}, not {KIND}; give another folder")
    checksum: str = manifest["checksum"]
    return checksum


@lru_cache(maxsize=1)
def _recommender(folder: str, checksum: str) -> Recommender:
    """Loaded once in each worker."""
    if model_checksum(Path(folder)) != checksum:
        raise ArtifactError(f"the model in {folder} has changed since this job began; begin it again in a new folder.")
    return Recommender.load(folder)


def _packed(table: Table[Any]) -> bytes:
    """Rows as parquet, always the same bytes; reasons with their proof, by which they can be verified."""
    frame = table.to_polars()
    if "evidence" in frame.columns:
        proofs = [json.dumps(row.get("proof"), ensure_ascii=False) for row in table.to_dicts()]
        frame = frame.with_columns(pl.Series("proof", proofs, dtype=pl.String))
    file = io.BytesIO()
    frame.write_parquet(file, compression="zstd", compression_level=3, statistics=True, row_group_size=100_000)
    return file.getvalue()


def _saved(adapters: Adapters) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "adapters.safetensors"
        adapters.save(file)
        return file.read_bytes()
