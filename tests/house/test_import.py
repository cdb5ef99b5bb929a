"""`import mr_st` and `mr-st --help` are light."""

from __future__ import annotations

import subprocess
import sys

import pytest

import mr_st


def test_import_loads_no_heavy_package() -> None:
    heavy = "{'torch', 'transformers', 'datasets', 'sentence_transformers', 'mteb', 'numpy', 'typer'}"
    code = f"import sys, mr_st; print(sorted({heavy} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_help_loads_no_torch() -> None:
    code = (
        "import sys\nfrom mr_st.cli.main import main\n"
        "sys.argv = ['mr-st', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'datasets', 'mteb'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"
    assert "mr-st run" in done.stdout


def test_every_public_name_is_importable() -> None:
    for name in mr_st.__all__:
        assert getattr(mr_st, name) is not None
    assert set(mr_st.__all__) <= set(dir(mr_st))


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        mr_st.no_such_name  # noqa: B018
