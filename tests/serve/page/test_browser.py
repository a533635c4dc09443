"""Page and dashboard in a real browser, the short version of scripts/bench/serve_page.py."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CHROMIUM = Path("/usr/bin/chromium")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("playwright") is None, reason="playwright is not installed")
@pytest.mark.skipif(not CHROMIUM.exists(), reason="chromium is not installed")
def test_a_visitor_clicks_through(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "bench" / "serve_page.py"), str(tmp_path), "--short"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["states"] == 11
    assert len(list(tmp_path.glob("*.png"))) == 11
