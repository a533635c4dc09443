"""What docs/serve.md says can be asked is what can be asked."""

import re
from pathlib import Path

from recllm.serve.web.app import create_app
from tests.serve.fake import FakeLive

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")


def plain(path: str) -> str:
    """A path with its parameters unnamed."""
    return re.sub(r"{[^}]*}", "{}", path)


def test_the_table_of_requests_is_the_description() -> None:
    named = re.findall(r"`(?:[A-Z]+ ?,? ?)*(?:`, `[A-Z]+ )?(/(?:api|metrics)[^`?]*)", PAGE)
    shown = {plain(path) for path in named}
    there = {plain(path) for path in create_app(FakeLive()).openapi()["paths"]}  # type: ignore[arg-type]
    hidden = {"/api/backup", "/api/item/{}"} & there
    assert shown - there == set(), "on the page, and not there"
    assert there - shown - hidden == set(), "there, and not on the page"
