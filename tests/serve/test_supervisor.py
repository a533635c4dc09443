"""A server that is killed begins anew; one that is told to stop, or ends by itself, does not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recllm.serve.supervisor import can_supervise

pytestmark = pytest.mark.skipif(not can_supervise(), reason="this system has no prctl")

SCRIPT = """
import os, sys, time
from pathlib import Path
from recllm.serve import supervisor

supervisor._SLOW = ()
place, how = Path(sys.argv[1]), sys.argv[2]

def serve(answering):
    with open(place / "pids", "a") as file:
        file.write(f"{os.getpid()}\\n")
    if how == "ends":
        raise SystemExit(3)
    if how == "wrong":
        raise supervisor.ServeError("the folder is served already.")
    if how == "dies":
        os.kill(os.getpid(), 9)
    answering()
    time.sleep(30)

try:
    sys.exit(supervisor.supervised(serve))
except supervisor.ServeError as error:
    sys.exit(f"Error: {error}")
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    running: list[subprocess.Popen[str]] = []

    def start(how: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", SCRIPT, str(tmp_path), how]
        running.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for one in running:
        one.kill()
        one.communicate()


def pids(place: Path, count: int) -> list[int]:
    """Of the servers that were begun, once there are so many."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        found = (place / "pids").read_text().split() if (place / "pids").exists() else []
        if len(found) >= count:
            return [int(one) for one in found]
        time.sleep(0.01)
    raise AssertionError(f"{count} servers were expected, there were {len(found)}")


def gone(pid: int) -> bool:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_a_killed_server_begins_anew_and_a_stopped_one_does_not(
    started: Callable[[str], "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    process = started("serves")
    os.kill(pids(tmp_path, 1)[0], signal.SIGKILL)
    second = pids(tmp_path, 2)[1]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert gone(second)
    assert len(pids(tmp_path, 2)) == 2
    assert process.stderr is not None
    assert "ended by SIGKILL; it begins anew" in process.stderr.read()


def test_no_server_is_left_without_its_supervisor(
    started: Callable[[str], "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    process = started("serves")
    child = pids(tmp_path, 1)[0]
    process.kill()
    process.wait(20)
    assert gone(child)


@pytest.mark.parametrize(
    ("how", "code", "said", "times"),
    [
        ("ends", 3, "", 1),
        ("wrong", 1, "Error: the folder is served already.", 1),
        ("dies", 1, "SIGKILL 3 times in a row", 3),
    ],
)
def test_what_ends_by_itself_is_not_begun_again(
    started: Callable[[str], "subprocess.Popen[str]"], tmp_path: Path, how: str, code: int, said: str, times: int
) -> None:
    process = started(how)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert said in errors
    assert "Traceback" not in errors
    assert len(pids(tmp_path, times)) == times
