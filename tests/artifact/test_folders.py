"""Old or new, at every moment; nothing is left after the next save; the disk has it before its name says so."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recllm.artifact import check_target, folders, load_artifact, save_artifact
from recllm.errors import ArtifactError

ROOT = Path(__file__).resolve().parents[2]


def save(folder: Path, card: str = "old") -> None:
    save_artifact(folder, tensors={}, documents={"one": 1, "two": card}, card=card, kind="toy")


def card_of(folder: Path) -> str:
    loaded = load_artifact(folder, "toy")
    assert loaded.documents["two"] == loaded.card, "a mixture of two folders"
    return loaded.card


# Each moment is a call to the operating system that changes the disk, or asks for it to be written.
KILLED = """
import os, sys, warnings
from pathlib import Path
from recllm.artifact import load_artifact, save_artifact
sys.path.insert(0, sys.argv[1])
from tests.artifact.test_folders import card_of, save

def killed_at(moment, folder, card):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] != 0
    seen = 0
    def count(event, *_):
        nonlocal seen
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "fsync"):
            seen += 1
            if seen == moment:
                os._exit(9)
    fsync = os.fsync
    os.fsync = lambda handle: (count("fsync"), fsync(handle))
    sys.addaudithook(count)
    save(folder, card)
    os._exit(0)

warnings.simplefilter("ignore")
moments = 0
for first in (False, True):
    place = Path(sys.argv[2]) / str(first)
    place.mkdir()
    (place / "m").mkdir()
    (place / "m" / ".git").mkdir()
    (place / "m" / ".git" / "HEAD").write_text("mine")
    for moment in range(1, 1000):
        if not first:
            save(place / "m", "old")
        if not killed_at(moment, place / "m", "new"):
            break
        moments += 1
        try:
            found = card_of(place / "m")
        except Exception as error:
            found = "nothing" if first else repr(error)
        assert found in (("nothing", "new") if first else ("old", "new")), (moment, found)
        save(place / "m", "next")
        assert card_of(place / "m") == "next", moment
        assert os.listdir(place) == ["m"], (moment, os.listdir(place))
        assert (place / "m" / ".git" / "HEAD").read_text() == "mine", moment
        if first:
            for file in (place / "m").iterdir():
                if file.name != ".git":
                    file.unlink()
print(moments)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked to be killed")
def test_killed_at_any_moment_old_or_new_loads_and_nothing_stays(tmp_path: Path) -> None:
    """A process of its own, with no threads, forks one child for each moment and has it end there."""
    command = [sys.executable, "-c", KILLED, str(ROOT), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 40


def test_everything_is_on_the_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "m")
    told: list[object] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(handle: int) -> None:
        told.append(os.fstat(handle).st_ino)
        fsync(handle)

    def noted_rename(self: Path, target: Path) -> Path:
        told.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    save(tmp_path / "m", "new")
    before = set(told[: told.index("rename")])
    assert {path.stat().st_ino for path in (tmp_path / "m").iterdir()} <= before, "every file"
    assert (tmp_path / "m").stat().st_ino in before, "the folder that lists them"
    last = len(told) - told[::-1].index("rename")
    assert tmp_path.stat().st_ino in told[last:], "and, at last, the folder that has the new name"


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    for name in (".m.saving-dead", ".m.former-dead", ".mm.saving-other", ".m.saving-alive"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    with folders._locked(tmp_path / ".m.saving-alive") as ours:
        assert ours
        (tmp_path / "m").mkdir()
        save(tmp_path / "m")
        assert sorted(os.listdir(tmp_path)) == [".m.saving-alive", ".mm.saving-other", "m"]
    save(tmp_path / "m")
    assert sorted(os.listdir(tmp_path)) == [".mm.saving-other", "m"]


def test_processes_that_save_at_once_all_end_with_a_whole_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); "
        "from tests.artifact.test_folders import *\n"
        "for number in range(80): save(Path(sys.argv[2]), sys.argv[3]); assert card_of(Path(sys.argv[2])) in 'abcd'"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(ROOT), str(tmp_path / "m"), who], cwd=ROOT) for who in "abcd"
    ]
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert card_of(tmp_path / "m") in "abcd"
    assert os.listdir(tmp_path) == ["m"]


def test_who_looks_at_a_folder_waits_for_a_save_between_its_renames(tmp_path: Path) -> None:
    target, manifest = tmp_path / "m", tmp_path / "m" / "manifest.json"
    save(target)
    with ThreadPoolExecutor(1) as pool:
        with folders.undisturbed(target):
            manifest.rename(tmp_path / "aside")  # for a moment the folder holds what recllm did not write
            saved = pool.submit(save, target, "new")
            time.sleep(0.2)
            assert not saved.done()
            (tmp_path / "aside").rename(manifest)
        saved.result()
        with folders.undisturbed(target):
            target.rename(tmp_path / "aside")
            loaded = pool.submit(card_of, target)
            time.sleep(0.2)
            assert not loaded.done()
            (tmp_path / "aside").rename(target)
        assert loaded.result() == "new"


def test_what_the_system_put_there_stays(tmp_path: Path) -> None:
    save(tmp_path / "m")
    (tmp_path / "m" / ".git" / "objects").mkdir(parents=True)
    (tmp_path / "m" / ".git" / "objects" / "one").write_text("history")
    (tmp_path / "m" / ".gitattributes").write_text("lfs")
    (tmp_path / "m" / "Thumbs.db").symlink_to("nowhere")
    save(tmp_path / "m", "new")
    assert card_of(tmp_path / "m") == "new"
    assert (tmp_path / "m" / ".git" / "objects" / "one").read_text() == "history"
    assert (tmp_path / "m" / ".gitattributes").read_text() == "lfs"
    assert (tmp_path / "m" / "Thumbs.db").is_symlink()
    assert os.listdir(tmp_path) == ["m"]


def test_what_cannot_be_written_is_found_out_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArtifactError, match=r"cannot save to .*Not a directory"):
        check_target(tmp_path / "file" / "model")
    check_target(tmp_path / "new" / "parents" / "model")
    assert os.listdir(tmp_path) == ["file"], "asking leaves nothing"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArtifactError, match="No space left on device; choose another folder"):
        check_target(tmp_path / "model")
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes and devices")
@pytest.mark.parametrize("file", ["manifest.json", "one.json"])
@pytest.mark.parametrize("kind", ["pipe", "endless", "link to a pipe", "folder"])
def test_what_is_no_file_is_not_opened(tmp_path: Path, file: str, kind: str) -> None:
    save(tmp_path / "m")
    (tmp_path / "m" / file).unlink()
    if kind == "folder":
        (tmp_path / "m" / file).mkdir()
    elif kind == "endless":
        (tmp_path / "m" / file).symlink_to("/dev/zero")
    else:
        pipe = tmp_path / "pipe" if kind == "link to a pipe" else tmp_path / "m" / file
        os.mkfifo(pipe)
        if kind == "link to a pipe":
            (tmp_path / "m" / file).symlink_to(pipe)
    with pytest.raises(ArtifactError, match=rf"{file} is no regular file"):
        load_artifact(tmp_path / "m", "toy")


def test_a_manifest_is_not_read_to_its_end_when_it_has_none(tmp_path: Path) -> None:
    save(tmp_path / "m")
    with (tmp_path / "m" / "manifest.json").open("r+b") as file:
        file.truncate(1 << 40)  # a hole
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
        load_artifact(tmp_path / "m", "toy")
