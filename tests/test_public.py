"""What `import recllm` offers, how it introduces itself, and what it costs."""

import inspect
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import recllm
from recllm.evaluation.run import evaluate

ROOT = Path(__file__).resolve().parent.parent
HEAVY = (
    "torch",
    "transformers",
    "sentence_transformers",
    "peft",
    "numpy",
    "polars",
    "pandas",
    "scipy",
    "rich",
    "typer",
)


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_costs_next_to_nothing() -> None:
    """The bar is .15 s; processor time, and the best of three, because others may be busy here."""
    code = "import time; begin = time.process_time(); import recllm; print(time.process_time() - begin)"
    assert min(float(python(code)) for _ in range(3)) < 0.15


def test_looking_at_the_names_imports_nothing() -> None:
    code = f"import recllm, sys; dir(recllm), recllm.__all__; print([name for name in {HEAVY} if name in sys.modules])"
    assert python(code) == "[]"


def test_a_star_gives_exactly_the_public_names() -> None:
    code = "before = set(globals()); from recllm import *; print(sorted(set(globals()) - before - {'before'}))"
    assert python(code) == str(sorted(recllm.__all__))


def test_the_names_are_sorted_and_listed() -> None:
    assert list(recllm.__all__) == sorted(recllm.__all__)
    assert len(set(recllm.__all__)) == len(recllm.__all__)
    assert set(recllm.__all__) <= set(dir(recllm))
    assert "Adapters" in recllm.__all__


@pytest.mark.parametrize("name", sorted(set(recllm.__all__) - {"__version__"}))
def test_every_name_introduces_itself(name: str) -> None:
    value = getattr(recllm, name)
    assert (inspect.getdoc(value) or "").strip()
    if not (isinstance(value, type) and issubclass(value, BaseException)):
        kinds = [parameter.kind for parameter in inspect.signature(value).parameters.values()]
        assert inspect.Parameter.VAR_KEYWORD not in kinds
        assert inspect.Parameter.VAR_POSITIONAL not in kinds


def test_evaluate_is_a_package_and_its_function() -> None:
    signature = inspect.signature(recllm.evaluate)
    assert signature == inspect.signature(evaluate)
    assert "config_or_scorer" in signature.parameters
    first = (evaluate.__doc__ or "").partition("\n")[0]
    shown = pydoc.plain(pydoc.render_doc(recllm.evaluate))
    assert first in shown.split("DESCRIPTION")[0]
    assert f"recllm.evaluate{signature}" in shown.split("PACKAGE CONTENTS")[0]
    assert "test_users: Exactly these are asked" in shown.split("PACKAGE CONTENTS")[0]
    with pytest.raises(recllm.ConfigError, match="nothing to evaluate"):
        recllm.evaluate(None, *recllm.load_demo(), baselines=None)


@pytest.mark.parametrize(
    "code",
    ["import recllm; e = recllm.evaluate", "from recllm import evaluate as e", "import recllm.evaluate as e"],
)
def test_evaluate_is_the_same_however_it_is_imported(code: str) -> None:
    shown = python(f"{code}\nimport inspect, recllm\nprint(callable(e), *inspect.signature(e).parameters)")
    assert shown.startswith("True config_or_scorer catalog events protocol")
