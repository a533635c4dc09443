"""Rows that stay in the file of a saved folder, whatever becomes of it."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from recllm.artifact import Artifact, fingerprint, load_artifact, save_artifact
from recllm.artifact import rows as module
from recllm.artifact.rows import FilePart, Rows
from recllm.errors import ArtifactError

ARRAY = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "HELD", 0)
    monkeypatch.setattr(module, "AT_ONCE", 100)
    save(tmp_path / "model", ARRAY)
    return tmp_path / "model"


def save(folder: Path, array: np.ndarray) -> None:
    tensors = {"text": {"mean": array[0], "vectors": array, "zeros": np.zeros(3)}}
    save_artifact(folder, tensors=tensors, documents={}, card="", kind="toy")


def loaded(folder: Path) -> Artifact:
    return load_artifact(folder, "toy")


def test_they_are_read_from_the_file(folder: Path) -> None:
    rows = loaded(folder).rows("text", "vectors")
    assert isinstance(rows.parts[0], FilePart)
    assert (len(rows), rows.shape) == (50, (50, 7))
    np.testing.assert_array_equal(rows.read(), ARRAY)
    np.testing.assert_array_equal(np.asarray(rows), ARRAY)
    np.testing.assert_array_equal(rows[-1], ARRAY[-1])
    assert len(list(rows.blocks())) > 2


def test_small_ones_and_those_of_other_systems_are_held(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = loaded(folder)
    with monkeypatch.context() as patch:
        patch.setattr(module, "HELD", ARRAY.nbytes)
        assert artifact.rows("text", "vectors").read() is artifact.tensors["text"]["vectors"]
    with monkeypatch.context() as patch:
        patch.delattr("os.pread")
        assert artifact.rows("text", "vectors").read() is artifact.tensors["text"]["vectors"]
    shutil.rmtree(folder)
    assert artifact.rows("text", "vectors").read() is artifact.tensors["text"]["vectors"]


def test_a_folder_that_is_replaced_or_deleted_takes_nothing_away(folder: Path) -> None:
    rows = loaded(folder).rows("text", "vectors")
    save(folder, ARRAY + 1)
    np.testing.assert_array_equal(rows.read(), ARRAY)
    shutil.rmtree(folder)
    np.testing.assert_array_equal(rows.read(), ARRAY)


@pytest.mark.parametrize("damage", ["shorter", "longer", "other", "header"])
def test_a_file_that_is_written_over_is_noticed(folder: Path, damage: str) -> None:
    rows = loaded(folder).rows("text", "vectors")
    path = folder / "text.safetensors"
    content = path.read_bytes()
    changed = {
        "shorter": content[:-200],
        "longer": content + b"\0",
        "other": content[:-300] + b"\1" + content[-299:],
        "header": content[:9] + b"\1" + content[10:],
    }
    with path.open("r+b") as file:
        file.write(changed[damage])
        file.truncate()
    with pytest.raises(ArtifactError, match="was written over while the model"):
        rows.read()
    with pytest.raises(ArtifactError, match="load the model again"):
        fingerprint(rows)


def test_more_rows_follow_and_the_fingerprint_is_that_of_the_array(folder: Path) -> None:
    rows = loaded(folder).rows("text", "vectors").plus(ARRAY[:2])
    whole = np.concatenate([ARRAY, ARRAY[:2]])
    np.testing.assert_array_equal(rows.read(), whole)
    assert fingerprint(rows, "a") == fingerprint(whole, "a")
    again = pickle.loads(pickle.dumps(rows))
    np.testing.assert_array_equal(again.read(), whole)
    save(folder, rows)  # type: ignore[arg-type]
    np.testing.assert_array_equal(loaded(folder).rows("text", "vectors").read(), whole)


def test_in_memory_they_are_the_array() -> None:
    rows = Rows((ARRAY,))
    assert rows.read() is ARRAY
    assert fingerprint(rows) == fingerprint(ARRAY)
