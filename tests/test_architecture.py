"""The house rules that a reader cannot see being broken: import direction, the tree in the README, the public names."""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import recllm
import recllm.errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "recllm"

# The rooms, in the order data flows. A module imports only from its own line and the lines above.
LINES = [
    ["errors", "config", "options", "resources", "texts", "artifact"],
    ["data"],
    ["prompting"],
    ["encoders"],
    ["counts"],
    ["retrieval"],
    ["ranking"],
    ["adaptation"],
    ["model"],
    ["lists"],
    ["explain"],
    ["tuning"],
    ["prompts"],
    ["recommender"],
    ["evaluation"],
    ["scale"],
    ["serve"],
    ["terminal", "cli", "testing"],
]
LINE_OF = {room: number for number, line in enumerate(LINES) for room in line}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "_data" not in path.parts)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(node: ast.AST) -> list[tuple[int, str]]:
    """(line, dotted name) of everything imported below `node`, functions included, TYPE_CHECKING blocks excluded."""
    found: list[tuple[int, str]] = []
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            found += [pair for branch in child.orelse for pair in imports(ast.Module([branch], []))]
        elif isinstance(child, ast.Import):
            found += [(child.lineno, alias.name) for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            prefix = "." * child.level + (child.module or "")
            found += [(child.lineno, f"{prefix}.{alias.name}") for alias in child.names]
        else:
            found += imports(child)
    return found


def wrong_imports(path: Path, tree: ast.AST) -> list[str]:
    own = LINE_OF[room_of(path)]
    wrong = []
    for line, name in imports(tree):
        if name.startswith("."):
            wrong.append(f"{path.name}:{line} relative import {name}; write it in full")
        parts = name.split(".")
        if parts[0] != "recllm":
            continue
        # The package itself offers everything, so only what stands on the last line may use it.
        other = LINE_OF.get(parts[1], len(LINES) - 1) if len(parts) > 1 else len(LINES) - 1
        if other > own:
            wrong.append(f"{path.name}:{line} imports {name}, which stands below it")
    return wrong


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_up(path: Path) -> None:
    if path == PACKAGE / "__init__.py":
        names = [name for _, name in imports(ast.parse(path.read_text(encoding="utf-8")))]
        assert names == ["importlib", "typing.TYPE_CHECKING", "typing.Any"]
        return
    assert room_of(path) in LINE_OF, f"{path} is in no room; say in LINES where it stands"
    assert wrong_imports(path, ast.parse(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    ("code", "is_wrong"),
    [
        ("from recllm.errors import DataError", False),
        ("from recllm import __version__", True),
        ("import numpy", False),
        ("from recllm.data.tasks import split_users", False),
        ("def f():\n    from recllm.encoders.text import TextEncoder", True),
        ("if TYPE_CHECKING:\n    from recllm.encoders.text import TextEncoder", False),
        ("if TYPE_CHECKING:\n    pass\nelse:\n    import recllm.encoders.text", True),
        ("from recllm import Recommender", True),
        ("import recllm", True),
        ("from .catalog import Catalog", True),
    ],
)
def test_the_import_test_sees(code: str, is_wrong: bool) -> None:
    assert bool(wrong_imports(PACKAGE / "data" / "catalog.py", ast.parse(code))) is is_wrong


def import_graph(package: Path) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports, wherever: in functions and under TYPE_CHECKING, too."""
    paths = [path for path in package.rglob("*.py") if "_data" not in path.parts]
    dotted = {path: ".".join(path.relative_to(package.parent).with_suffix("").parts) for path in paths}
    modules = {name.removesuffix(".__init__"): path for path, name in dotted.items()}
    # The package's own door imports whatever is asked of it; nothing inside may ask it (see `wrong_imports`).
    del modules[package.name]
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                whole = {f"{node.module}.{alias.name}": node.module or "" for alias in node.names}
                names |= {name if name in modules else room for name, room in whole.items()}
        graph[module] = names & modules.keys()
    return graph


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, the first one again at the end; none if there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_is_imported_by_what_it_imports() -> None:
    graph = import_graph(PACKAGE)
    assert len(graph) > 100
    assert circle_in(graph) == []


@pytest.mark.parametrize(
    ("one", "other", "is_circle"),
    [
        ("from shop.b import B", "import shop", False),
        ("from shop.b import B", "from shop.a import A", True),
        ("import shop.b", "from shop import a", True),
        ("from shop.b import B", "def lazy():\n    from shop.a import A", True),
        ("from shop.b import B", "if TYPE_CHECKING:\n    from shop.a import A", True),
        ("from shop.room import something", "", True),
        ("from shop.room import within", "", False),
    ],
)
def test_the_circle_test_sees(tmp_path: Path, one: str, other: str, is_circle: bool) -> None:
    files = {"a": one, "b": other, "__init__": "from shop import a, b", "room/within": "", "room/__init__": ""}
    files["room/__init__"] = "from shop.a import A\nsomething = A"
    (tmp_path / "shop" / "room").mkdir(parents=True)
    for name, code in files.items():
        (tmp_path / "shop" / f"{name}.py").write_text(code)
    assert bool(circle_in(import_graph(tmp_path / "shop"))) is is_circle


FORBIDDEN = re.compile(
    r"\bpickle\b.*\(|\bimport pickle\b|\btorch\.load\(|(?<![\w.])eval\(|(?<![\w.])exec\(|\bjoblib\b|\bdill\b"
)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_stored_can_run_code(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    code = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call | ast.Import | ast.ImportFrom)]
    assert [text for text in code if FORBIDDEN.search(text)] == []
    # torch's own `.eval()` switches a module's mode and is harmless; numpy's `allow_pickle` is not.
    assert not [text for text in code if "allow_pickle=True" in text]


LONGER = {
    "recommender.py": "the class that people meet: two thirds are what `help` shows",
}
"""Files of more than 320 lines, and why."""

LONGEST = {
    "evaluation/run.py: evaluate": "half of it is the signature that people call",
}
"""Functions of more than 45 lines, and why."""


def test_files_and_functions_stay_small() -> None:
    """Docstrings count in a file, and not in a function."""
    files, functions = {}, {}
    for path in MODULES:
        text, name = path.read_text(encoding="utf-8"), str(path.relative_to(PACKAGE))
        files[name] = len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                said = len((ast.get_docstring(node, clean=False) or "").splitlines())
                functions[f"{name}: {node.name}"] = (node.end_lineno or 0) - node.lineno + 1 - said
    assert {name for name, lines in files.items() if lines > 320} == set(LONGER)
    assert {name for name, lines in functions.items() if lines > 45} == set(LONGEST)
    assert len(list(PACKAGE.glob("*.py"))) <= 10, "the root is for what everybody stands on, and for doors"


def test_shapes_are_checked_under_pytest() -> None:
    import torch
    from jaxtyping import TypeCheckError

    from recllm.ranking.head import RankingConfig, RankingHead

    with pytest.raises(TypeCheckError):
        RankingHead(3, RankingConfig()).forward(torch.zeros(2), torch.zeros(2))


def test_every_public_name_resolves() -> None:
    for name in recllm.__all__:
        assert getattr(recllm, name) is not None
    assert set(recllm.__all__) <= set(dir(recllm))
    with pytest.raises(AttributeError, match="Recomender"):
        _ = recllm.Recomender


def test_the_error_tree_is_whole() -> None:
    """Every error class is public, is a RecllmError, and stands in the tree that the docstring shows."""
    classes = {name for name, value in vars(recllm.errors).items() if isinstance(value, type)} - {"ModuleType"}
    shown = set(re.findall(r"\b\w*(?:Error|Mismatch)\b", recllm.errors.__doc__ or "")) - {"ValueError", "ImportError"}
    assert classes == shown
    assert classes <= set(recllm.__all__)
    assert all(issubclass(getattr(recllm.errors, name), recllm.RecllmError) for name in classes)


@pytest.mark.parametrize(
    "statement",
    [
        "import recllm",
        "import recllm; recllm.Catalog; recllm.Interactions; recllm.load_demo; recllm.RecllmError",
        "import recllm.cli",
    ],
)
def test_import_is_light(statement: str) -> None:
    heavy = ["torch", "transformers", "sentence_transformers", "peft"]
    if statement == "import recllm":
        heavy += ["numpy", "pandas", "polars", "scipy"]
    code = f"{statement}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_serves_knows_nothing_of_what_trains() -> None:
    code = (
        "import sys, recllm.lists.serve, recllm.model.model\n"
        "training = ('encoders.train', 'adaptation.train', 'encoders.finetuning.tuner', 'encoders.finetuning.pairs')\n"
        "print([name for name in training if f'recllm.{name}' in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the tree in the README --------------------------------------------------------------------------------------


def readme_tree(readme: str) -> list[tuple[str, int, list[str]]]:
    """(folder, depth, names) for each line of the fenced block whose first line is `recllm/` or another folder.

    The format: a block fenced by ``` in which each line is two spaces of indentation per level, one or more names
    (folders end in `/`) separated by single spaces, and, after at least two spaces, a phrase. ::

        recllm/
          errors.py config.py    the error tree, strict configuration
          data/                  catalogs and events
            catalog.py           items
        adapters/                shipped adapters
    """
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL):
        lines = [line for line in block.splitlines() if line.strip()]
        if any(line.split()[0] == "recllm/" for line in lines):
            break
    else:
        return []
    rows: list[tuple[str, int, list[str]]] = []
    path: list[str] = []
    for line in lines:
        depth = (len(line) - len(line.lstrip())) // 2
        names = re.split(r"\s{2,}", line.strip())[0].split(" ")
        path = [*path[:depth], names[0]]
        rows.append(("".join(path[:depth]), depth, names))
    return rows


def test_the_readme_shows_the_tree_on_disk() -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("README.md is not written yet")
    rows = readme_tree(readme.read_text(encoding="utf-8"))
    assert rows, "README.md has no fenced tree block with a line `recllm/` (see readme_tree for the format)"
    shown = [folder + name for folder, _, names in rows for name in names]
    assert [name for name in shown if not (ROOT / name).exists()] == [], "shown, but not on disk"
    assert [name for name in shown if name.endswith("/") != (ROOT / name).is_dir()] == [], "folders end in /"
    on_disk = [f"recllm/{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")]
    on_disk += [f"{name}/" for name in ("adapters", "prompts", "recllm", "scripts", "tests")]
    on_disk += [f"recllm/{path.name}" for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]
    assert sorted(set(on_disk) - set(shown)) == [], "on disk, but not shown"
    inside = [name.split("/")[1].removesuffix(".py") for name in shown if re.fullmatch(r"recllm/[^/]+/?", name)]
    numbers = [LINE_OF[room] for room in inside]
    assert numbers == sorted(numbers), "the tree is not in the order data flows"


def test_the_tree_reader_reads_its_format() -> None:
    assert readme_tree(
        "text\n```text\nrecllm/\n  errors.py config.py    both\n  data/   events\n    cleaning.py  x\n```\n"
    ) == [
        ("", 0, ["recllm/"]),
        ("recllm/", 1, ["errors.py", "config.py"]),
        ("recllm/", 1, ["data/"]),
        ("recllm/data/", 2, ["cleaning.py"]),
    ]
