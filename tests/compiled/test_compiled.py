"""escape.c without Python: under the sanitizers, built in several ways, on another processor."""

from __future__ import annotations

import ast
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "kernels"
DRIVER = Path(__file__).with_name("driver.c")
SEED = "20240607"
#: What the driver is compiled with, whatever escape.c is.
OURS = ("-std=c11", "-D_GNU_SOURCE", "-ffp-contract=off", "-fno-fast-math", f"-I{KERNELS}")
STRICT = ("-Wall", "-Wextra", "-Werror")
SANITIZED = ("-O0", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")

#: The instructions that round once where the contract rounds twice, of both architectures.
FUSED = r"(vfn?m|fn?m)(add|sub|la|ls)"

x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="speaks of x86-64's options")


def shipped() -> list[str]:
    """The options that setup.py compiles escape.c with."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLAGS":
            return list(ast.literal_eval(node.value))
    raise AssertionError("setup.py has no FLAGS any more")


def run(*command: str | Path, good: bool = True) -> str:
    """What a program says; fails with it if the program does, or, for bad ones, if it does not."""
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
    )
    assert (done.returncode == 0) is good, f"{command}: {done.returncode}\n{done.stdout}"
    return done.stdout


def compiled(
    folder: Path,
    compiler: str,
    options: Sequence[str],
    driver: Sequence[str],
    source: Path = KERNELS / "escape.c",
) -> Path:
    """The driver, with escape.c compiled with these options and itself with those."""
    escape, program = folder / "escape.o", folder / "driver"
    run(compiler, *STRICT, *options, f"-I{KERNELS}", "-c", source, "-o", escape)
    run(compiler, *STRICT, *OURS, *driver, DRIVER, escape, "-pthread", "-lm", "-o", program)
    return program


def cases(said: str) -> int:
    """How many the driver says that it compared."""
    print(said)
    found = re.search(r"^(\d+) cases", said, re.MULTILINE)
    assert found, said
    return int(found[1])


def functions(objdump: str, code: Path, instruction: str) -> set[str]:
    """The functions in which there is such an instruction, without what the compiler adds."""
    parts = re.split(r"^[0-9a-f]+ <(\w+).*>:$", run(objdump, "-d", code), flags=re.MULTILINE)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return {name for name, text in pairs if re.search(rf"\t{instruction}", text)}


@pytest.fixture(scope="module")
def as_shipped(compiler: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The driver, with escape.c as it is shipped, and escape.o beside it."""
    return compiled(tmp_path_factory.mktemp("shipped"), compiler, shipped(), ["-O2"])


def test_no_read_no_write_and_no_number_is_out_of_bounds(compiler: str, tmp_path: Path) -> None:
    program = compiled(tmp_path, compiler, SANITIZED, SANITIZED)
    assert cases(run(program, SEED, "3000")) >= 3000


def test_no_buffer_of_its_own_is_too_short_and_none_ever_full(
    compiler: str, tmp_path: Path
) -> None:
    # The sanitizer does not see who goes from one array of a struct into the next one. So each gets
    # a block of its own; and the queue is so short that small images fill it again and again.
    text = (KERNELS / "escape.c").read_text()
    arrays = re.findall(r"(\w+)\[((?:QUEUE|ESCAPED)[^\]]*)\]", text)
    assert len(arrays) == 6
    text = re.sub(r"(\w+)\[(?:QUEUE|ESCAPED)[^\]]*\]", r"*\1", text)
    blocks = "".join(
        f"work->{name} = malloc(({size}) * sizeof *work->{name});\n" for name, size in arrays
    )
    frees = "".join(f"free(work->{name});\n" for name, _ in arrays)
    for old, new in (
        ("QUEUE = 16384,", "QUEUE = 64,"),
        ("    work->image = image;\n", f"{blocks}work->image = image;\n"),
        ("    free(work);\n", f"{frees}free(work);\n"),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    source = tmp_path / "escape.c"
    source.write_text(text)
    program = compiled(tmp_path, compiler, SANITIZED, SANITIZED, source)
    assert cases(run(program, SEED, "10000")) >= 10_000


def test_the_shipped_build_gives_the_counts_of_the_contract(as_shipped: Path) -> None:
    assert cases(run(as_shipped, SEED, "50000")) >= 50_000


@x86_64
@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["-O2", "-march=x86-64"], id="for the oldest processor"),
        pytest.param(["-O1", "-march=native"], id="for this processor"),
    ],
)
def test_every_build_gives_the_counts_of_the_contract(
    compiler: str, tmp_path: Path, options: list[str]
) -> None:
    program = compiled(tmp_path, compiler, shipped() + options, ["-O2"])
    assert cases(run(program, SEED, "20000")) >= 20_000


def test_the_driver_notices_a_step_that_the_compiler_fused(compiler: str, tmp_path: Path) -> None:
    options = [*shipped(), "-O2", "-march=native", "-ffp-contract=fast"]
    program = compiled(tmp_path, compiler, options, ["-O2"])
    plain = {"escape_counts", "compute_scalar", "pixel"}  # whatever is inlined into what
    if not plain & functions("objdump", tmp_path / "escape.o", FUSED):
        pytest.skip("this processor has no fused operation for it")
    assert "another count: " in run(program, SEED, "20000", good=False)


@x86_64
def test_the_shipped_build_fuses_only_where_it_has_asked_the_processor(as_shipped: Path) -> None:
    # What begins with v is AVX, fused operations among it.
    asked = functions("objdump", as_shipped.with_name("escape.o"), "v")
    assert {name.rpartition("_")[2] for name in asked} == {"avx2", "avx512"}


def test_an_aarch64_processor_gives_the_counts_of_the_contract(
    aarch64: None, tmp_path: Path
) -> None:
    program = compiled(tmp_path, "aarch64-linux-gnu-gcc", shipped(), ["-O2", "-static"])
    said = run("qemu-aarch64-static", program, SEED, "3000")
    assert cases(said) >= 3000
    assert said.endswith(": scalar baseline\n")
    # It has fused operations and GCC would use them: only where they are written are they.
    fused = functions("aarch64-linux-gnu-objdump", tmp_path / "escape.o", FUSED)
    assert fused == {"compute_complex_baseline"}
