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
    if not inspect.ismodule(value) and not (isinstance(value, type) and issubclass(value, BaseException)):
        kinds = [parameter.kind for parameter in inspect.signature(value).parameters.values()]
        assert inspect.Parameter.VAR_KEYWORD not in kinds
        assert inspect.Parameter.VAR_POSITIONAL not in kinds


def test_evaluate_is_the_plain_function() -> None:
    assert recllm.evaluate is evaluate
    signature = inspect.signature(recllm.evaluate)
    assert "config_or_scorer" in signature.parameters
    shown = pydoc.plain(pydoc.render_doc(recllm.evaluate))
    assert shown.splitlines()[0] == "Python Library Documentation: function evaluate in module recllm.evaluation.run"
    assert f"evaluate{signature}" in shown
    assert "test_users: Exactly these are asked" in shown
    with pytest.raises(recllm.ConfigError, match="nothing to evaluate"):
        recllm.evaluate(None, *recllm.load_demo(), baselines=None)


@pytest.mark.parametrize("code", ["import recllm; e = recllm.evaluate", "from recllm import evaluate as e"])
def test_evaluate_is_the_same_however_it_is_imported(code: str) -> None:
    shown = python(f"{code}\nimport inspect, recllm\nprint(callable(e), *inspect.signature(e).parameters)")
    assert shown.startswith("True config_or_scorer catalog events protocol")


def test_no_module_of_evaluation_hides_the_function() -> None:
    """Whatever is imported of the package, before the function is first asked for or after."""
    folder = ROOT / "recllm" / "evaluation"
    paths = [path.relative_to(ROOT).with_suffix("") for path in sorted(folder.rglob("*.py"))]
    names = [".".join(path.parts).removesuffix(".__init__") for path in paths]
    assert "recllm.evaluation" in names
    assert "recllm.evaluation.run" in names
    code = f"""
import importlib, inspect, random, sys, recllm
names = {names}
random.Random(0).shuffle(names)
for name in names[: len(names) // 2]:
    importlib.import_module(name)
    assert not inspect.ismodule(vars(recllm).get("evaluate")), name
function = recllm.evaluate
for name in names:
    importlib.import_module(name)
    assert recllm.evaluate is function, name
print(function.__module__, inspect.isfunction(function))
"""
    assert python(code) == "recllm.evaluation.run True"
