"""Erased bytes that SQLite leaves in the database's file.

`secure_delete` overwrites a row that is deleted. But when a page is split or balanced, rows move to other pages, and
their former bytes stay in the unused middle of the page that they left, where no later deletion finds them. Nothing
ever reads these bytes, so they can be overwritten in place.
"""

from pathlib import Path

from recllm.serve.state.sqlite.connection import sqlite

_TREES = frozenset({0x02, 0x05, 0x0A, 0x0D})
"""First byte of a page of a B-tree; other pages begin with a page number, whose first byte is 0 up to 64 GB."""

_LEAVES = frozenset({0x0A, 0x0D})
_HEADER = 100
"""Bytes before the first page's tree."""

_AT_ONCE = 256
_MOST_PAGES = 1 << 24


def unused(page: memoryview, start: int) -> tuple[int, int]:
    """Where a page holds nothing: between its pointers to rows and the first row; an empty range where that is unknown.

    Args:
        page: Of the database, see https://sqlite.org/fileformat2.html#b_tree_pages.
        start: Where its tree begins.
    """
    kind = page[start]
    if kind not in _TREES:
        return 0, 0
    rows = int.from_bytes(page[start + 3 : start + 5], "big")
    first = int.from_bytes(page[start + 5 : start + 7], "big") or 65_536
    begin = start + (8 if kind in _LEAVES else 12) + 2 * rows
    return (begin, first) if begin <= first <= len(page) else (0, 0)


def sweep(path: Path, vfs: str | None = None) -> int:
    """Overwrite with zeros what lies in the unused middle of pages; how many pages had something there.

    The log must be empty and nobody may write meanwhile; readers may read. A page in a connection's cache still has its
    old middle, so the writer has to be opened anew before it writes.

    Args:
        path: The database's file.
        vfs: Of SQLite; None: the usual.
    """
    apsw = sqlite()
    # Through SQLite's own layer: closing a file that was opened beside it would drop its locks.
    flags = apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE
    file = apsw.VFSFile(vfs or "", str(path), [flags, 0])
    try:
        swept, size = 0, file.xFileSize()
        head = file.xRead(_HEADER, 0) if size else b""
        width = int.from_bytes(head[16:18], "big")
        width = 65_536 if width == 1 else width
        pages = min(size // width, _MOST_PAGES) if width else 0
        for number in range(0, pages, _AT_ONCE):
            many = min(_AT_ONCE, pages - number)
            block = memoryview(file.xRead(many * width, number * width))
            for row in range(many):
                page = block[row * width : (row + 1) * width]
                begin, end = unused(page, 0 if number + row else _HEADER)
                if end > begin and page[begin:end].tobytes().strip(b"\0"):
                    file.xWrite(bytes(end - begin), (number + row) * width + begin)
                    swept += 1
        if swept:
            file.xSync(apsw.SQLITE_SYNC_FULL)
        return swept
    finally:
        file.xClose()
