"""The Python in the README runs as it stands, on files like those it speaks of."""

import gzip
import re
from pathlib import Path

import pytest

from recllm.testing import ToyShop

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.mark.slow
def test_the_twenty_lines_run(
    toy: ToyShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 20
    monkeypatch.chdir(tmp_path)
    for name, frame in (
        ("items", toy.catalog.frame.select("item_id", "title")),
        ("interactions", toy.events.frame.select("user_id", "item_id", "timestamp")),
    ):
        with gzip.open(f"{name}.csv.gz", "wb") as file:
            file.write(frame.write_csv().encode())
    exec(compile(code, str(README), "exec"), {})
    shown = capsys.readouterr().out
    assert "mia" in shown
    assert re.search(r"Because of “(garden|kitchen|toys|books) thing number \d+”", shown)
    assert (tmp_path / "model" / "manifest.json").is_file()
