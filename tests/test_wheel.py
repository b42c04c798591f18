"""The wheel, as a user gets it: built from the source archive, tried from an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hpczmq._version import __version__

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parent.parent
#: What a wheel is made from; the tests and all the rest is not needed for it.
SOURCES = (
    *("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"),
    *("hpczmq", "kernels", "nodes", "cli.py"),
)


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a Python with these arguments and give back what it printed; fail with all of it."""
    # Not measured for coverage: what runs here is a copy that is soon gone.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COVERAGE", "COV_"))}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=kept | environment,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with its links, so that a build leaves nothing in the work tree."""
    folder = tmp_path_factory.mktemp("sources")
    built = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd", "_julia.c")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=built)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def wheel(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, from the source archive as `python -m build` and an index make it."""
    out = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--no-isolation", "--outdir", out, cwd=sources)
    (path,) = out.glob("*.whl")
    return path


def contents(wheel: Path) -> set[str]:
    """Names of the files in it, without the wheel's own papers."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_one_import_name_and_all_of_it(wheel: Path) -> None:
    names = contents(wheel)
    assert {name.partition("/")[0] for name in names} == {"hpczmq"}
    built = {".so", ".pyd", ".pyc"}
    files = [*(ROOT / "hpczmq").glob("*"), *(ROOT / "hpczmq").glob("*/*")]
    wanted = {path for path in files if path.is_file() and path.suffix not in built}
    wanted -= {ROOT / "hpczmq/kernels/_julia.c"}  # by Cython, from the .pyx that is there
    extension = {name for name in names if name.endswith((".so", ".pyd"))}
    assert names - extension == {path.relative_to(ROOT).as_posix() for path in wanted}
    assert len(extension) == 1


def test_the_wheel_works_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    pip = ("-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps", "--no-index")
    run(*pip, "--target", site, wheel, cwd=empty)
    places = "import hpczmq, hpczmq.kernels, hpczmq.nodes as n; print(hpczmq.__file__, n.__file__)"
    for place in run("-c", places, cwd=empty, PYTHONPATH=str(site)).split():
        assert Path(place).is_relative_to(site), "this is not the wheel"
    said = run("-m", "hpczmq.cli", "--version", cwd=empty, PYTHONPATH=str(site))
    assert __version__ in said.split()
    assert [path.stem for path in (site / "bin").iterdir()] == ["hpczmq"]


def test_without_a_compiler_there_is_a_wheel_without_the_extension(
    sources: Path, wheel: Path, tmp_path: Path
) -> None:
    # pip and not build: this time from the checkout itself, through the links.
    pip = ("-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps")
    run(*pip, "--no-build-isolation", "-w", tmp_path, sources, cwd=tmp_path, CC="false")
    (plain,) = tmp_path.glob("*.whl")
    assert contents(plain) == {
        name for name in contents(wheel) if not name.endswith((".so", ".pyd"))
    }
