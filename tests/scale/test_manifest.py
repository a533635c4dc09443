"""What a job has finished: read back as written, refused where it is damaged or another job's."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recllm.errors import ArtifactError
from recllm.scale.manifest import Manifest, Part, write_part

JOB = {"kind": "recommend", "shards": 3}


def with_part(folder: Path) -> Manifest:
    manifest = Manifest.to_go_on(folder, JOB)
    manifest.add("part-0", write_part(folder, "part-0", b"lists", 10, 2, ("a note",)))
    manifest.write()
    return manifest


def test_what_is_finished_is_read_back(tmp_path: Path) -> None:
    with_part(tmp_path)
    found = Manifest.to_go_on(tmp_path, JOB)
    assert found.parts == {"part-0": Part(10, 2, 5, found.parts["part-0"].sha256, ("a note",))}
    assert found.is_whole("part-0")
    assert found.content("part-0") == b"lists"
    assert not found.is_whole("part-1")


@pytest.mark.parametrize("content", [b"lists!", b"list5", b"", None])
def test_a_damaged_file_is_told(tmp_path: Path, content: bytes | None) -> None:
    manifest = with_part(tmp_path)
    path = tmp_path / "part-0"
    path.unlink() if content is None else path.write_bytes(content)
    assert not manifest.is_whole("part-0")
    with pytest.raises(ArtifactError, match="part-0"):
        manifest.content("part-0")
    with pytest.raises(ArtifactError, match="part-1 is not finished"):
        manifest.content("part-1")


@settings(max_examples=30)
@given(st.data())
def test_no_changed_manifest_is_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("job")
    with_part(folder)
    path = folder / "manifest.json"
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match="damaged"):
        Manifest.to_go_on(folder, JOB)


@pytest.mark.parametrize("said", ["[]", "{}", '{"format": 1}', "{", "null", '{"parts": 3, "format": 1, "job": {}}'])
def test_what_is_no_manifest_is_refused(tmp_path: Path, said: str) -> None:
    (tmp_path / "manifest.json").write_text(said)
    with pytest.raises(ArtifactError, match="damaged or not of a job"):
        Manifest.to_go_on(tmp_path, JOB)


@pytest.mark.parametrize("name", ["../part-0", "/etc/passwd", "", "part-0/../x"])
def test_a_manifest_names_files_beside_it(tmp_path: Path, name: str) -> None:
    manifest = with_part(tmp_path)
    manifest.add(name, manifest.parts["part-0"])
    manifest.write()
    with pytest.raises(ArtifactError, match="the name of a file"):
        Manifest.read(tmp_path)


def test_another_job_is_refused_and_what_differs_is_said(tmp_path: Path) -> None:
    with_part(tmp_path)
    with pytest.raises(ArtifactError, match=r"shards of another job \(another shards, users\); give another folder"):
        Manifest.to_go_on(tmp_path, {**JOB, "shards": 4, "users": "all"})


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ArtifactError, match="holds files of something else"):
        Manifest.to_go_on(tmp_path, JOB)
    with pytest.raises(ArtifactError, match="holds no shards"):
        Manifest.read(tmp_path / "nothing")


def test_many_parts_are_not_written_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it written for each of a million shards, that would be most of the work."""
    written = []
    manifest, clock = Manifest.to_go_on(tmp_path, JOB), iter(range(10_000))
    monkeypatch.setattr("recllm.scale.manifest.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("recllm.scale.manifest.replace_file", lambda path, content: written.append(content))
    for number in range(100):
        manifest.add(f"part-{number}", Part(1, 1, 1, "x"))
    assert 2 <= len(written) <= 10
    manifest.write()
    assert len(json.loads(written[-1])["parts"]) == 100
