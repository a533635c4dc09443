"""What all tests share.

Shapes in signatures (jaxtyping) are checked here and only here: the hook has to be in place before the modules are
imported. It covers the modules that speak of shapes.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

# Nothing in a test may reach for a model hub, nor print about threads after a fork.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from beartype import beartype
from beartype.roar import BeartypeDecorHintException
from hypothesis import HealthCheck, settings
from jaxtyping import install_import_hook

settings.register_profile(
    "recllm", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.load_profile("recllm")


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check with beartype where it can: it refuses `Self` and protocols, which say nothing of shapes.

    Configs and wishes check their own values and bring them into their types; what they refuse, they refuse in words.
    """
    if function.__qualname__.endswith(("Config.__init__", "Wish.__init__")):
        return function
    try:
        return beartype(function)
    except BeartypeDecorHintException:
        return function


# jaxtyping wants its checker by name, and a conftest has none that can be relied on.
checker = ModuleType("recllm_shape_checks")
checker.check = check  # type: ignore[attr-defined]
sys.modules[checker.__name__] = checker

ROOT = Path(__file__).resolve().parent.parent
SHAPED = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "recllm").rglob("*.py")
    if "from jaxtyping import" in path.read_text(encoding="utf-8")
]
install_import_hook(SHAPED, "recllm_shape_checks.check")

import pytest  # noqa: E402  (after the hook)

from recllm.testing import DEPARTMENTS, ToyShop, tiny_backbone, toy_shop  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-golden", action="store_true", help="write tests/golden/ anew; say why in the commit")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with random weights that knows the toy shop's words."""
    words = ["thing number", *DEPARTMENTS, *map(str, range(60))]
    return tiny_backbone(tmp_path_factory.mktemp("tiny"), words)


@pytest.fixture(scope="session")
def toy() -> ToyShop:
    """The shop in which everybody keeps to one department."""
    return toy_shop()


@pytest.fixture(autouse=True, scope="session")
def _no_cache_in_the_home_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["RECLLM_CACHE"] = str(tmp_path_factory.mktemp("cache"))
