"""Do the tests notice when a promise is broken? One deliberate fault after the other, each in a copy of the tree.

    python scripts/bench/mutants.py [--only NAME …] [--jobs 2] [--list] [--out results/mutants.json]

`mutants.toml` beside this file is the table: each fault has a name, the promise that it breaks, a file, the text that
is replaced (it has to stand there exactly once, else the fault is stale), what replaces it, and the tests that should
notice. Those are run until the first one fails; before, all of them are run without a fault and have to pass. Exit
code 1 if a fault lives or is stale.

What is kept is a list of (name, promise, outcome, test, seconds). Outcomes: "noticed", "lives", "stale", "broken" (the
fault could not even be imported, which proves nothing).
"""

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_suffix(".toml")
KEPT = Path(__file__).parent / "results" / "mutants.json"
COPIED = ("recllm", "tests", "scripts", "prompts", "adapters", "README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml")
SECONDS = 600
"""After so long a test hangs, and the fault counts as noticed."""


@dataclass(frozen=True)
class Mutant:
    """One deliberate fault."""

    name: str
    promise: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def stale(self) -> str | None:
        """Why it cannot be put in; None if it can."""
        path = ROOT / self.file
        if self is NO_FAULT:
            return None
        if not path.is_file():
            return f"{self.file} is not there"
        places = path.read_text(encoding="utf-8").count(self.old)
        gone = [test for test in self.tests if not (ROOT / test.partition("::")[0]).exists()]
        if places != 1:
            return f"its text stands {places} times in {self.file}"
        return f"{gone[0]} is not there" if gone else None


NO_FAULT = Mutant("no fault", "without a fault the tests pass", "README.md", "", "", ())


@dataclass(frozen=True)
class Outcome:
    """What came of one fault."""

    name: str
    promise: str
    outcome: str
    test: str
    seconds: float


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these faults, or those whose names begin so")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--list", action="store_true", help="show the table; nothing is run")
    parser.add_argument("--out", type=Path, default=KEPT, help="where the result is kept; what it has of others stays")
    options = parser.parse_args()
    mutants = [one for one in read_table() if not options.only or one.name.startswith(tuple(options.only))]
    if options.list:
        for one in mutants:
            print(f"{one.name:32} {one.stale() or one.promise}")
        return int(any(one.stale() for one in mutants))
    outcomes = run(mutants, options.jobs)
    keep(outcomes, options.out)
    unnoticed = [one for one in outcomes if one.outcome != "noticed"]
    print(f"\n{len(outcomes) - len(unnoticed)} of {len(outcomes)} faults are noticed")
    for one in unnoticed:
        print(f"  {one.outcome}: {one.name} ({one.promise}) {one.test}")
    return int(bool(unnoticed))


def read_table() -> list[Mutant]:
    """The table, checked for names that occur twice."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["mutant"]
    mutants = [Mutant(**{**row, "tests": tuple(row["tests"])}) for row in rows]
    names = [one.name for one in mutants]
    if twice := {name for name in names if names.count(name) > 1}:
        raise SystemExit(f"mutants.toml has two faults called {min(twice)}")
    return mutants


def run(mutants: list[Mutant], jobs: int) -> list[Outcome]:
    """Each fault in one of `jobs` copies of the tree; outcomes in the order of `mutants`."""
    import_what_tests_import()
    outcomes: dict[str, Outcome] = {}
    with tempfile.TemporaryDirectory() as folder:
        free = [copy_tree(Path(folder) / str(number)) for number in range(jobs)]
        check_without_fault(mutants, free[0])
        waiting, running = mutants[::-1], list[Run]()
        while waiting or running:
            while waiting and free:
                running.append(Run(waiting.pop(), free.pop()))
            time.sleep(0.1)
            for one in [one for one in running if one.over()]:
                running.remove(one)
                free.append(one.copy)
                found = outcomes[one.mutant.name] = one.outcome()
                print(f"{found.outcome:8} {found.name:32} {found.seconds:4.0f} s  {found.test}", flush=True)
    return [outcomes[one.name] for one in mutants]


def check_without_fault(mutants: list[Mutant], copy: Path) -> None:
    """Tests that fail anyway notice nothing."""
    tests = dict.fromkeys(test for one in mutants if not one.stale() for test in one.tests)
    whole = [test for test in tests if test.partition("::")[0] == test or test.partition("::")[0] not in tests]
    run = Run(NO_FAULT, copy, tuple(whole))
    while not run.over():
        time.sleep(0.1)
    found = run.outcome()
    if found.outcome != "lives":
        raise SystemExit(f"the tests fail without any fault: {found.test}")


def import_what_tests_import() -> None:
    """Here, once, for all the processes that are forked from this one; recllm itself each of them imports anew."""
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "PYTHONDONTWRITEBYTECODE": "1"}
    import peft  # noqa: F401
    import polars  # noqa: F401
    import sentence_transformers  # noqa: F401
    import sklearn.feature_extraction.text  # noqa: F401
    from transformers import AutoModel, BertModel, LlamaModel  # noqa: F401


def copy_tree(target: Path) -> Path:
    """What tests need, without what they leave."""
    target.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            shutil.copy(ROOT / name, target / name)
    return target


class Run:
    """One fault, put into a copy of the tree, whose tests run in a process of their own until one fails."""

    def __init__(self, mutant: Mutant, copy: Path, tests: tuple[str, ...] | None = None) -> None:
        self.mutant, self.copy, self.begin = mutant, copy, time.monotonic()
        self.tests = mutant.tests if tests is None else tests
        self.child, self.said = 0, copy / "said"
        self.why = mutant.stale()
        if self.why:
            return
        self.path = copy / mutant.file
        self.sound = self.path.read_text(encoding="utf-8")
        faulty = self.sound.replace(mutant.old, mutant.new) if mutant.old else self.sound
        self.path.write_text(faulty, encoding="utf-8")
        self.child = os.fork()
        if self.child == 0:
            self._test()

    def _test(self) -> NoReturn:
        code = 99
        try:  # whatever happens, this process may not go on as if it were the one that it was forked from
            with self.said.open("w", encoding="utf-8") as file:
                os.dup2(file.fileno(), 1)
                os.dup2(file.fileno(), 2)
            os.chdir(self.copy)
            os.environ["PYTHONPATH"] = str(self.copy)  # of processes that tests start
            sys.path[:] = [str(self.copy), *(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT)]
            import pytest

            early = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"
            code = pytest.main([*self.tests, "-x", "-q", "-p", "no:cacheprovider", "-W", early])
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def over(self) -> bool:
        """Whether the tests are; those that hang are ended."""
        if self.child and self.mutant is not NO_FAULT and time.monotonic() - self.begin > SECONDS:
            os.kill(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)
            self.said.write_text("FAILED it hangs\n", encoding="utf-8")
            return True
        return not self.child or os.waitpid(self.child, os.WNOHANG)[0] != 0

    def outcome(self) -> Outcome:
        """What the tests said; takes the fault out again."""
        if self.why:
            return Outcome(self.mutant.name, self.mutant.promise, "stale", self.why, 0.0)
        self.path.write_text(self.sound, encoding="utf-8")
        outcome, test = verdict(self.said.read_text(encoding="utf-8", errors="replace"))
        seconds = round(time.monotonic() - self.begin, 1)
        return Outcome(self.mutant.name, self.mutant.promise, outcome, test, seconds)


def verdict(said: str) -> tuple[str, str]:
    """The outcome, and the test that noticed, from pytest's summary."""
    found = re.search(r"^(FAILED|ERROR) (\S+.*?)(?: - .*)?$", said, re.MULTILINE)
    if found is None:
        passed = re.search(r"^\d+ passed", said, re.MULTILINE)
        return ("lives", "") if passed else ("broken", said.strip()[-300:])
    if found[1] == "ERROR" and re.search(r"^(Interrupted|.*error during collection|ImportError)", said, re.MULTILINE):
        return "broken", found[2]
    return "noticed", found[2]


def keep(outcomes: list[Outcome], place: Path) -> None:
    """As JSON, in the order of the table; outcomes of faults that were not run now stay as they are."""
    kept = {row["name"]: row for row in json.loads(place.read_text(encoding="utf-8"))} if place.exists() else {}
    kept |= {one.name: asdict(one) for one in outcomes}
    rows = [kept[one.name] for one in read_table() if one.name in kept]
    place.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
