import json
import os
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.artifact import check_target, fingerprint, folders, load_artifact, manifest, save_artifact
from recllm.errors import ArtifactError

TENSORS = {
    "encoder": {"layer.0/weight": np.arange(6, dtype=np.float32).reshape(2, 3), "scale": np.float32(2.5)},
    "head": {"empty": np.zeros((0, 4), np.float16), "rows": np.array([1, -1], np.int64)},
}
DOCUMENTS = {"items": ["a/b", "..", "line\nbreak", "🎄", "half \ud800"], "config": {"depth": 1, "name": None}}
FILES = ["README.md", "config.json", "encoder.safetensors", "head.safetensors", "items.json", "manifest.json"]


def save(folder, *, tensors=TENSORS, documents=DOCUMENTS, card="# A card\n", kind="recommender") -> None:
    save_artifact(folder, tensors=tensors, documents=documents, card=card, kind=kind)


@pytest.fixture
def saved(tmp_path):
    save(tmp_path / "model")
    return tmp_path / "model"


def test_round_trip(saved) -> None:
    loaded = load_artifact(saved, "recommender")
    assert loaded.card == "# A card\n"
    assert loaded.documents == DOCUMENTS
    assert loaded.tensors.keys() == TENSORS.keys()
    for name, group in TENSORS.items():
        assert loaded.tensors[name].keys() == group.keys()
        for key, array in group.items():
            assert loaded.tensors[name][key].dtype == array.dtype
            assert loaded.tensors[name][key].shape == array.shape
            np.testing.assert_array_equal(loaded.tensors[name][key], array)
    assert sorted(os.listdir(saved)) == FILES
    assert os.listdir(saved.parent) == ["model"], "nothing is left beside it"


def test_views_are_stored_as_they_look(tmp_path) -> None:
    whole = np.arange(12, dtype=np.float32).reshape(3, 4)
    save(tmp_path / "m", tensors={"t": {"turned": whole.T, "every_other": whole[:, ::2]}})
    loaded = load_artifact(tmp_path / "m", "recommender").tensors["t"]
    np.testing.assert_array_equal(loaded["turned"], whole.T)
    np.testing.assert_array_equal(loaded["every_other"], whole[:, ::2])


def test_saving_twice_replaces_everything(saved) -> None:
    save(saved, tensors={}, documents={"other": 1}, card="second")
    loaded = load_artifact(saved, "recommender")
    assert loaded.documents == {"other": 1}
    assert loaded.card == "second"
    assert sorted(os.listdir(saved)) == ["README.md", "manifest.json", "other.json"]
    assert os.listdir(saved.parent) == ["model"]


def test_the_same_content_gives_the_same_bytes(tmp_path) -> None:
    for name in ("one", "two"):
        save(tmp_path / name)
    for file in FILES:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


# --- damage ------------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(data=st.data(), file=st.sampled_from(FILES))
def test_any_flipped_bit_is_refused(tmp_path, data, file) -> None:
    folder = tmp_path / "model"
    if not folder.exists():
        save(folder)
    path = folder / file
    intact = path.read_bytes()
    position = data.draw(st.integers(0, len(intact) * 8 - 1))
    broken = bytearray(intact)
    broken[position // 8] ^= 1 << position % 8
    path.write_bytes(broken)
    try:
        with pytest.raises(ArtifactError, match=file):
            load_artifact(folder, "recommender")
    finally:
        path.write_bytes(intact)
    assert load_artifact(folder, "recommender").card == "# A card\n"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("keep", [0, 1, -1])
def test_a_truncated_file_is_refused(saved, file, keep) -> None:
    path = saved / file
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match=file):
        load_artifact(saved, "recommender")


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_refused(saved, file) -> None:
    (saved / file).unlink()
    with pytest.raises(ArtifactError, match=f"{file} is missing"):
        load_artifact(saved, "recommender")


@pytest.mark.parametrize("file", FILES)
def test_a_longer_file_is_refused(saved, file) -> None:
    with (saved / file).open("ab") as stream:
        stream.write(b"\n")
    with pytest.raises(ArtifactError, match=file):
        load_artifact(saved, "recommender")


@pytest.mark.parametrize("file", FILES)
def test_a_folder_in_a_files_place_is_refused(saved, file) -> None:
    (saved / file).unlink()
    (saved / file).mkdir()
    with pytest.raises(ArtifactError):
        load_artifact(saved, "recommender")


@pytest.mark.parametrize(
    "name", [".DS_Store", ".gitattributes", "._config.json", "Thumbs.db", "desktop.ini", "notes.txt", "odd.safetensors"]
)
def test_what_is_not_ours_is_passed_over(saved, name) -> None:
    (saved / name).write_bytes(b"{ not for us")
    for folder in (".git", "__pycache__", ".ipynb_checkpoints", "mine"):
        (saved / folder).mkdir()
    loaded = load_artifact(saved, "recommender")
    assert (loaded.documents, loaded.tensors.keys()) == (DOCUMENTS, TENSORS.keys())


def test_files_swapped_between_two_models_are_refused(saved, tmp_path) -> None:
    save(tmp_path / "other", documents={"items": ["b", *DOCUMENTS["items"][1:]], "config": {}})
    shutil.copy(tmp_path / "other" / "items.json", saved / "items.json")
    with pytest.raises(ArtifactError, match=r"items\.json is damaged"):
        load_artifact(saved, "recommender")


def test_another_kind_is_refused(saved) -> None:
    with pytest.raises(ArtifactError, match="holds a saved recommender, not adapters"):
        load_artifact(saved, "adapters")


def test_a_later_format_says_which_version_wrote_it(tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "FORMAT", 99)
        patch.setattr(manifest, "__version__", "9.0")
        save(tmp_path / "model")
    with pytest.raises(ArtifactError, match=r"format 99 \(recllm 9\.0\)"):
        load_artifact(tmp_path / "model", "recommender")


def test_the_former_format_says_what_to_do(tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "FORMAT", 1)
        save(tmp_path / "model")
    with pytest.raises(ArtifactError, match=r"format 1 .* reads format 2; make it again with this version"):
        load_artifact(tmp_path / "model", "recommender")
    save(tmp_path / "model")
    assert load_artifact(tmp_path / "model", "recommender").documents == DOCUMENTS


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b"[" * 100_000, b"\xff", b'{"files": 3}'])
def test_a_strangers_manifest_is_refused(tmp_path, content) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
        load_artifact(tmp_path, "recommender")


def test_no_folder(tmp_path) -> None:
    with pytest.raises(ArtifactError, match="there is no folder"):
        load_artifact(tmp_path / "absent", "recommender")
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="there is no folder"):
        load_artifact(tmp_path / "file", "recommender")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=r"manifest\.json is missing"):
        load_artifact(tmp_path / "empty", "recommender")


# --- where it may be saved, and what is left when it fails -------------------------------------------------------


def test_an_empty_folder_and_new_parents_are_fine(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    save(tmp_path / "empty")
    save(tmp_path / "a" / "b" / "c")
    assert load_artifact(tmp_path / "empty", "recommender").kind == "recommender"
    assert load_artifact(tmp_path / "a" / "b" / "c", "recommender").kind == "recommender"


def test_a_linked_folder_stays_a_link(tmp_path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    save(tmp_path / "link")
    save(tmp_path / "link", card="again")
    assert (tmp_path / "link").is_symlink()
    assert load_artifact(tmp_path / "real", "recommender").card == "again"


def test_other_peoples_files_are_never_replaced(tmp_path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("ten years")
    (tmp_path / "file").write_text("x")
    for target in (tmp_path / "thesis", tmp_path / "file"):
        with pytest.raises(ArtifactError, match="cannot save to"):
            save(target)
        with pytest.raises(ArtifactError, match="cannot save to"):
            check_target(target)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "ten years"


def test_a_file_added_to_a_saved_folder_is_never_replaced(saved) -> None:
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"notes\.txt"):
        save(saved)
    assert (saved / "notes.txt").read_text() == "mine"


def test_everything_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch) -> None:
    """Files and their folder are synced while they are beside their place, the parent once they are in it."""
    target, fsync, synced = tmp_path / "model", os.fsync, {}

    def watched(handle) -> None:
        synced[os.fstat(handle).st_ino] = target.exists()
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    save(target)
    kept = [target, *target.iterdir()]
    assert len(kept) == 1 + len(FILES)
    assert {path.name: synced.get(path.stat().st_ino) for path in kept} == {path.name: False for path in kept}
    assert synced.get(tmp_path.stat().st_ino) is True


@pytest.mark.parametrize("failing", ["_write_durably", "_swap"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_save_changes_nothing(saved, monkeypatch, failing, error) -> None:
    before = {path.name: path.read_bytes() for path in saved.iterdir()}

    def fail(*args):
        raise error

    monkeypatch.setattr(folders, failing, fail)
    with pytest.raises(ArtifactError if isinstance(error, OSError) else KeyboardInterrupt):
        save(saved, card="second")
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before
    assert os.listdir(saved.parent) == ["model"]


def test_a_rename_that_fails_halfway_is_undone(saved, monkeypatch) -> None:
    rename = type(saved).rename

    def fail_for_the_fresh_one(self, target):
        if ".saving-" in self.name:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(type(saved), "rename", fail_for_the_fresh_one)
    with pytest.raises(ArtifactError, match="Input/output error"):
        save(saved, card="second")
    assert load_artifact(saved, "recommender").card == "# A card\n"
    assert os.listdir(saved.parent) == ["model"]


def test_after_a_crash_between_the_renames_the_former_model_is_read_and_put_back(saved) -> None:
    saved.rename(saved.with_name(".model.former-0000"))
    with pytest.warns(UserWarning, match=r"interrupted; its former state is read, from \.model\.former-0000"):
        assert load_artifact(saved, "recommender").card == "# A card\n"
    with pytest.raises(ArtifactError, match="cannot be named"):
        save(saved, documents={"../up": 1})
    save(saved, card="second")
    assert load_artifact(saved, "recommender").card == "second"
    assert os.listdir(saved.parent) == ["model"]


@pytest.mark.parametrize("name", ["", "A", "../up", "a/b", "a.b", "manifest", "1"])
def test_names_come_from_code(tmp_path, name) -> None:
    with pytest.raises(ArtifactError, match="cannot be named"):
        save(tmp_path / "m", documents={name: 1})
    with pytest.raises(ArtifactError, match="cannot be named"):
        save(tmp_path / "m", tensors={name: {}})


@pytest.mark.parametrize("value", [float("nan"), object(), {(1, 2): 3}, b"bytes"])
def test_a_document_that_is_not_json_is_refused(tmp_path, value) -> None:
    with pytest.raises(ArtifactError, match="'odd' cannot be saved as JSON"):
        save(tmp_path / "m", documents={"odd": value})
    assert not (tmp_path / "m").exists()


def test_a_tensor_of_objects_is_refused(tmp_path) -> None:
    with pytest.raises(ArtifactError, match="tensors 'odd' cannot be saved"):
        save(tmp_path / "m", tensors={"odd": {"x": np.array(["a", None], dtype=object)}})
    assert not (tmp_path / "m").exists()


def test_the_manifest_is_for_people_too(saved) -> None:
    manifest = json.loads((saved / "manifest.json").read_text())
    assert manifest["kind"] == "recommender"
    assert sorted(manifest["files"]) == [name for name in FILES if name != "manifest.json"]


# --- fingerprint -------------------------------------------------------------------------------------------------


def test_fingerprint_tells_everything_apart() -> None:
    parts = [
        (), ("",), ("", ""), (b"",), ("ab",), ("a", "b"), (b"ab",), ("é",), ("\ud800",),
        (np.zeros(2, np.float32),), (np.zeros(1, np.float64),), (np.zeros((1, 2), np.float32),),
        (np.zeros(2, np.int32),),
    ]  # fmt: skip
    assert len({fingerprint(*part) for part in parts}) == len(parts)
    assert all(len(fingerprint(*part)) == 64 for part in parts)


def test_fingerprint_is_of_values_not_of_memory() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert fingerprint(array.T) == fingerprint(array.T.copy())
    assert fingerprint(array) == fingerprint(array.astype(">f4"))
    assert fingerprint(array) != fingerprint(array.T)
    with pytest.raises(TypeError, match="Python objects"):
        fingerprint(np.array(["a"], dtype=object))
