import polars as pl
import pytest

from recllm.errors import MissingExtraError, RecllmError, require


def test_a_message_is_one_line_whatever_is_shown_in_it() -> None:
    assert str(RecllmError(f"n is a whole number; got {pl.Series([1, 2])!r}.")).count("\n") == 0
    assert str(RecllmError("two  spaces, as they came")) == "two  spaces, as they came"


def test_require_returns_the_module() -> None:
    assert require("json", "scale").loads("1") == 1


def test_require_says_which_extra_to_install() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'recllm\[scale\]'") as caught:
        require("no_such_module_anywhere", "scale")
    assert isinstance(caught.value, RecllmError)
    assert isinstance(caught.value, ImportError)
    assert caught.value.name == "no_such_module_anywhere"


def test_require_does_not_hide_what_an_installed_module_lacks(tmp_path, monkeypatch) -> None:
    (tmp_path / "half_installed.py").write_text("import its_own_dependency_is_missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="its_own_dependency_is_missing"):
        require("half_installed", "scale")
