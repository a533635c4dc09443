"""What people install: the wheel carries the data, works outside the checkout, and the source archive can make it."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="README.md is not written yet")


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    return folder


def test_the_wheel_works_outside_the_checkout(built, tmp_path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path)
    prompts = ROOT / "prompts"
    assert {f"recllm/_data/prompts/{path.relative_to(prompts).as_posix()}" for path in prompts.rglob("*.prompt")} == {
        name for name in names if name.startswith("recllm/_data/prompts/") and name.endswith(".prompt")
    }
    assert {"recllm/py.typed", "recllm/_data/adapters/README.md", "recllm/data/demo/interactions.parquet"} <= names
    page = ROOT / "recllm" / "serve" / "page"
    assert {path.relative_to(ROOT).as_posix() for path in page.rglob("*.*") if path.suffix != ".pyc"} <= names
    assert not [name for name in names if name.startswith(("tests/", "adapters/", "prompts/", "scripts/"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    code = (
        "import recllm; from recllm.resources import data_folder\n"
        "from recllm.prompting import list_prompts\n"
        "from recllm.explain.clauses import bank; assert bank('finance')\n"
        "print(recllm.__file__, data_folder('prompts'), data_folder('adapters'), sep='\\n')\n"
        "assert list_prompts()\n"
        "catalog, events = recllm.load_demo(); assert len(catalog) and len(events)"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd="/", env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(line.startswith(str(tmp_path)) for line in done.stdout.splitlines())


def test_the_source_archive_has_all_that_the_wheel_needs(built) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    wanted = {"pyproject.toml", "README.md", "LICENSE", "adapters/README.md", "prompts/item.neutral.prompt"}
    assert wanted | {"recllm/py.typed", "recllm/data/demo/interactions.parquet", "scripts/setup"} <= names


def test_the_wheel_is_small(built) -> None:
    (wheel,) = built.glob("*.whl")
    assert wheel.stat().st_size < 2_500_000


def test_few_hard_dependencies_and_every_extra_that_code_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert len(project["dependencies"]) <= 18
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "recllm").rglob("*.py"))
    asked = dict(re.findall(r'require\("(\w+)[\w.]*", (?:extra=)?"(\w+)"\)', code))
    assert {"httpcore2": "llm", "gguf": "llm", "llguidance": "llm", "pandas": "pandas"}.items() <= asked.items()
    homes = {"sklearn": "scikit-learn", "markupsafe": "jinja2", "confluent_kafka": "confluent-kafka"}
    for module, extra in asked.items():
        offered = [re.split(r"[>=<]|\[", line)[0] for line in project["optional-dependencies"][extra]]
        assert homes.get(module, module) in offered, f"{module} is asked for, and the extra {extra!r} does not bring it"


def test_without_its_extras_everything_can_be_imported() -> None:
    """But for the two modules that are only loaded by what has asked for the extra before."""
    code = (
        "import importlib, pkgutil, sys\n"
        "for name in ('gguf', 'httpcore2', 'jinja2', 'llguidance', 'markupsafe', 'matplotlib', 'pandas', 'sklearn',"
        " 'threadpoolctl'):\n"
        "    sys.modules[name] = None\n"
        "import recllm\n"
        "for module in pkgutil.walk_packages(recllm.__path__, 'recllm.'):\n"
        "    try:\n"
        "        importlib.import_module(module.name)\n"
        "    except ImportError:\n"
        "        print(module.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["recllm.evaluation.page.render", "recllm.prompting.deadline"]
