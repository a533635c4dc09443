"""What the site has besides the pages of docs/: the README as its first page, the changelog, and the notebook."""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent.parent


def on_files(files: Files, config: Any) -> Files:
    for name, text in {
        "index.md": _without_docs((ROOT / "README.md").read_text(encoding="utf-8")),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "first-steps.md": _page_of((ROOT / "docs" / "first-steps.ipynb").read_text(encoding="utf-8")),
    }.items():
        files.append(File.generated(config, name, content=text))
    return files


def _without_docs(readme: str) -> str:
    """Links and pictures as they are seen from inside docs/."""
    return re.sub(r'(\]\(|src=")docs/', r"\1", readme).replace("(first-steps.ipynb)", "(first-steps.md)")


def _page_of(notebook: str) -> str:
    """The cells and what they printed; a table is the HTML that the library makes, of escaped text."""
    parts: list[str] = []
    for cell in json.loads(notebook)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {"text/plain": output.get("text", "")})
            html, plain = ("".join(data.get(kind, "")) for kind in ("text/html", "text/plain"))
            shown = html or f"<pre>{_escaped(plain)}</pre>"
            parts.append(f'<div class="output">{" ".join(shown.split(chr(10))) if html else shown}</div>')
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
