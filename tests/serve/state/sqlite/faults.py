"""A disk that can be told to refuse: a layer of SQLite's (a VFS) above the usual one."""

import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import apsw

DATABASE, LOG = "database", "log"
READ, WRITE, SYNC = "read", "write", "sync"

CODES = {
    "full": apsw.SQLITE_FULL,
    READ: apsw.SQLITE_IOERR_READ,
    WRITE: apsw.SQLITE_IOERR_WRITE,
    SYNC: apsw.SQLITE_IOERR_FSYNC,
}

_names = itertools.count()


def failure(code: int) -> Exception:
    """What SQLite is told: the error and its details."""
    error = type(apsw.exception_for(code))("the disk refuses")
    error.extendedresult = code  # type: ignore[attr-defined]
    return error


class Disk(apsw.VFS):
    """Does what the usual one does, until it is told otherwise.

    Attributes:
        refuses: (what is done, to which file) -> the code of the error.
        after: So many of the operations that are refused still succeed first; -1: half of the next write does.
        room: Bytes beyond which the log cannot grow.
        done: How often what was asked of which file.
        refused: How often it was refused.
    """

    def __init__(self) -> None:
        self.name = f"refusing-{os.getpid()}-{next(_names)}"
        self.refuses: dict[tuple[str, str], int] = {}
        self.after = 0
        self.room: int | None = None
        self.done: Counter[tuple[str, str]] = Counter()
        self.refused = 0
        super().__init__(self.name, "")

    def xOpen(self, name: Any, flags: list[int]) -> "File":
        return File(self, name, flags)

    def well(self) -> None:
        """It does everything again."""
        self.refuses, self.after, self.room = {}, 0, None

    def refuses_now(self, what: tuple[str, str]) -> int | None:
        self.done[what] += 1
        code = self.refuses.get(what)
        if code is not None and self.after > 0:
            self.after -= 1
            return None
        self.refused += code is not None
        return code


class File(apsw.VFSFile):
    """A file on such a disk."""

    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._kind = LOG if flags[0] & apsw.SQLITE_OPEN_WAL else DATABASE
        super().__init__("", name, flags)

    def xRead(self, amount: int, offset: int) -> bytes:
        if (code := self._disk.refuses_now((READ, self._kind))) is not None:
            raise failure(code)
        return super().xRead(amount, offset)

    def xWrite(self, data: Any, offset: int) -> None:
        code = self._disk.refuses_now((WRITE, self._kind))
        if self._kind == LOG and self._disk.room is not None and offset + len(data) > self._disk.room:
            code = apsw.SQLITE_FULL
        if code is not None:
            if self._disk.after < 0:
                super().xWrite(bytes(data)[: len(data) // 2], offset)
            raise failure(code)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        if (code := self._disk.refuses_now((SYNC, self._kind))) is not None:
            raise failure(code)
        super().xSync(flags)


@contextlib.contextmanager
def disk() -> Iterator[Disk]:
    """A disk that does everything, for now."""
    made = Disk()
    try:
        yield made
    finally:
        made.unregister()
