"""The site: everything public is in the reference, and the notebook runs and says nothing of the machine it ran on."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import recllm

DOCS = Path(__file__).resolve().parent.parent / "docs"
NOTEBOOK = DOCS / "first-steps.ipynb"


def test_everything_public_is_in_the_reference() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (DOCS / "api").glob("*.md"))
    shown = set(re.findall(r"^::: recllm\.(\w+)$", pages, flags=re.MULTILINE))
    errors = {name for name in recllm.__all__ if hasattr(recllm.errors, name)}
    assert "errors" in shown
    assert set(recllm.__all__) - {"__version__"} - errors - shown == set()


def test_the_notebook_was_kept_as_it_ran() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] is None and not cell["metadata"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert not re.search(r"(?<![\w.])/(home|root|tmp|usr|opt|work|Users)/", json.dumps(outputs))
    assert "Because of" in json.dumps(outputs)


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    """In a minute; a cell that fails fails this."""
    copy = shutil.copy(NOTEBOOK, tmp_path)
    command = [sys.executable, str(DOCS / "site" / "notebook.py"), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=DOCS.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    kept, made = (json.loads(Path(path).read_text(encoding="utf-8"))["cells"] for path in (NOTEBOOK, copy))
    assert [cell["source"] for cell in kept] == [cell["source"] for cell in made]
    assert [len(cell.get("outputs", ())) for cell in kept] == [len(cell.get("outputs", ())) for cell in made]
