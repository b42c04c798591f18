"""The source itself, held to its own rules: who imports whom, how long things are, what is where.

A rule that fails here is changed here, on purpose and with its reason, or kept.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hpczmq"

#: Who may import whom inside hpczmq (DESIGN 11): left imports right, and nothing else. A package
#: stands for all that is in it. A module that is not here has no place in the design yet.
MAY_IMPORT = {
    # What everything stands on.
    "_version": "",
    "addresses": "",
    "errors": "",
    "limits": "",
    "plain": "",
    "atomic": "",
    "clock": "",
    "cgroup": "",
    "cores": "cgroup",
    "spawn": "",
    "confine": "",
    "needs": "",
    "quota": "",
    "doorman": "quota",
    "descriptors": "",
    "bounds": "",
    "metrics": "bounds",
    "model": "bounds metrics needs",
    "identity": "model",
    "config": "model needs",
    "guard": "identity",
    # What is said, and how.
    "happened": "model",
    "items": "model",
    "messages": "happened identity items model",
    "roles": "identity messages model",
    "wire": "items messages model",
    "arrays": "wire",
    "endpoint": "descriptors doorman identity wire",
    "transport": "addresses descriptors doorman endpoint guard identity",
    "keyfiles": "atomic guard identity transport",
    "keyring": "identity keyfiles",
    "line": "endpoint keyfiles membership messages transport",
    "credentials": "config keyfiles keyring",
    # The machines, which are pure, and the shells around them.
    "alerts": "metrics",
    "rules": "alerts metrics",
    "exposition": "metrics",
    "watching": "alerts metrics",
    "memory_events": "history messages metrics",
    "membership": "messages model",
    "session": "membership messages model",
    "worker": "membership messages model",
    "history": "messages metrics",
    "filling": "history messages model",
    "memory": "alerts filling history membership memory_events messages metrics model rules"
    " watching",
    "scheduler": "alerts happened identity items messages model quota roles rules",
    "nodes": "addresses alerts arrays atomic cgroup clock config confine cores credentials"
    " descriptors endpoint exposition history identity items jsontext kernels keyfiles keyring"
    " line membership memory messages model needs partition quota roles rules scheduler spawn"
    " transport wire worker",
    # All of them in one seeded world.
    "simulation": "alerts identity items kernels memory membership messages model nodes rules"
    " scheduler session wire worker",
    # The work, and what comes of it.
    "kernels": "model",
    "engines": "kernels model",
    "partition": "kernels",
    "jobformats": "",
    "jobfile": "jobformats model",
    "assembler": "atomic model",
    "palettes": "",
    "bands": "cores",
    "deflate": "",
    "mapping": "bands palettes",
    "png": "bands deflate mapping",
    "pyramid": "bands deflate mapping",
    "imagefile": "atomic mapping palettes png pyramid",
    "jsontext": "",
    "results": "assembler atomic imagefile jsontext model palettes",
    # Those who ask for it.
    "futures": "arrays assembler kernels model wire",
    "pump": "clock endpoint futures keyfiles line messages session transport wire",
    "asking": "clock endpoint messages transport wire",
    "memorias": "asking keyfiles messages model",
    "client": "addresses asking assembler config credentials endpoint futures happened items"
    " kernels keyfiles memorias messages model partition pump session wire",
    "aio": "asking client futures messages model",
    "cluster": "addresses client config cores credentials model spawn",
    "batch": "client cluster futures jobfile kernels model palettes results wire",
    # Those who show it.
    "interrupts": "",
    "options": "palettes",
    "keycommands": "clock config identity keyfiles keyring options output tables",
    "launchers": "config nodes options",
    "output": "jsontext wire",
    "tables": "batch doctor happened messages metrics model wire",
    "plots": "",
    "looking_back": "asking metrics plots tables",
    "progress": "batch clock futures model tables",
    "dashboard": "client clock futures happened interrupts kernels mapping metrics model palettes"
    " tables wire",
    "demo": "batch jobfile model",
    "doctor": "confine cores kernels",
    "forecasting": "batch model options output progress simulation tables",
    "commands": "addresses asking atomic batch client clock config credentials doctor imagefile"
    " kernels looking_back messages model output palettes progress results rules tables",
    "lanes": "happened messages",
    "tracing": "happened lanes messages",
    "report": "happened lanes mapping messages model palettes png tables",
    "observing": "atomic client clock commands dashboard jsontext kernels looking_back messages"
    " model options report tables tracing",
}
#: What everyone may import; and the two that may import everything.
FOR_ALL = {"_version", "errors", "limits", "plain"}
FREE = {"__init__", "cli"}

#: The cores that are pure: no sockets, no clock, no chance, no disk. What they import is held to
#: the same, or the clock would come in by the back door.
PURE = {"scheduler", "worker", "memory", "session"}
IMPURE = {"asyncio", "logging", "os", "random", "socket", "threading", "time", "zmq"}

#: Where `print` is the work itself. Everywhere else it would spoil what a command prints.
MAY_PRINT = {
    "cli",
    "progress",
    "nodes.__main__",
    "nodes.shell",
    "simulation.__main__",
    "simulation.world",
}

#: Longer than allowed, and how long: these numbers only ever go down. "module" or
#: "module:Class.function" to lines. Empty is how it should be.
TOO_LONG: dict[str, int] = {}
MODULE_LINES_MAX, MODULE_LINES_MEDIAN = 400, 200
#: A list of bounds, each beside its reason, is looked up by name and never read from end to end: in
#: two one would only have to look in both.
LISTS = {"limits": 500}
FUNCTION_LINES_MAX, FUNCTION_LINES_MEDIAN = 60, 12

#: What `from hpczmq import *` gives. A name added here is one that we keep.
PUBLIC = {
    "Client",
    "HpczmqError",
    "Job",
    "JobFailed",
    "JobFuture",
    "JobState",
    "LocalCluster",
    "LocalError",
    "NoCluster",
    "NotAllowed",
    "ParameterError",
    "Refused",
    "RemoteError",
    "TaskFailed",
    "TaskFuture",
    "__version__",
    "aio",
    "as_completed",
    "execute",
}
PUBLIC_MAX = 25

#: A bound says what it counts: a plural, a unit, or a word that is its own.
UNITS = re.compile(r"(?:^|_)(?:s|ms|percent|priority|credit|backlog|limit|[a-z]{3,}s)(?:_|$)")

#: Paths that exist on one machine only, and hosts that packages come from: a user has others.
ELSEWHERE = re.compile(
    r"(?<![\w.])/(?:work|root|farm|Users|home/(?!vagrant\b|hpczmq\b|you\b)\w+)/"
    r"|\b(?:files\.pythonhosted\.org|pypi\.org/simple|deb\.debian\.org)"
    r"|https?://[^ \"']*(?:/simple\b|/packages/[0-9a-f]{2}/)"
)


def modules() -> dict[str, Path]:
    """Every module of the package by its name below hpczmq: "wire", "kernels.base", …"""
    found = {}
    for folder in (PACKAGE, *sorted(path for path in PACKAGE.iterdir() if path.is_dir())):
        for path in sorted(folder.glob("*.py")):
            name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()
TREES = {name: ast.parse(path.read_text(), path.name) for name, path in MODULES.items()}
#: Sources that ruff does not read.
COMPILED = {".pyx", ".pxd", ".c", ".h"}


def unit(name: str) -> str:
    """The row of the table that a module belongs to."""
    return name.partition(".")[0]


def imports(tree: ast.AST) -> Iterator[str]:
    """Whole names of all that is imported, wherever it stands: at the top, in a function, …"""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not for this project"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(name: str) -> set[str]:
    """The rows that a module imports from; "__init__" for a name of the package itself."""
    parts = [line.split(".") for line in imports(TREES[name])]
    inner = {part[1] if len(part) > 1 else "__init__" for part in parts if part[0] == "hpczmq"}
    units = {unit(module) for module in MODULES}
    return {part if part in units else "__init__" for part in inner}


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Names and lines of all functions and methods; one inside another counts for both."""
    for node in ast.iter_child_nodes(tree):
        name = prefix
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield prefix + node.name, node.end_lineno - node.lineno + 1
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{node.name}."
        yield from functions(node, name)


def tracked() -> list[Path]:
    """The files that are the project: all that git has, or would have if it were told."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"only a checkout knows its files: {error}")
    paths = [ROOT / line for line in done.stdout.split("\0") if line]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


# --- Who imports whom ---------------------------------------------------------------------------


def test_every_module_has_its_place_in_the_table() -> None:
    missing = {unit(name) for name in MODULES} - MAY_IMPORT.keys() - FREE
    assert not missing, f"give these a row in MAY_IMPORT, with what they may import: {missing}"


def test_every_row_of_the_table_has_its_module() -> None:
    unused = MAY_IMPORT.keys() - {unit(name) for name in MODULES}
    assert not unused, f"take these rows out of MAY_IMPORT, there is no such module: {unused}"


def test_the_table_has_no_circle() -> None:
    order = TopologicalSorter({left: right.split() for left, right in MAY_IMPORT.items()})
    assert set(order.static_order()) == MAY_IMPORT.keys()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_only_what_its_row_allows(name: str) -> None:
    row = unit(name)
    if row in FREE:
        return
    allowed = FOR_ALL | {row} | set(MAY_IMPORT.get(row, "").split())
    assert own_imports(name) <= allowed, f"{row} may import: {sorted(allowed)}"


def test_the_cores_are_pure() -> None:
    reached = set(PURE)
    while more := {right for left in reached for right in MAY_IMPORT[left].split()} - reached:
        reached |= more
    faults = [
        f"{name} imports {line}"
        for name in MODULES
        if unit(name) in reached | FOR_ALL
        for line in imports(TREES[name])
        if unit(line) in IMPURE
    ]
    assert not faults, f"{sorted(reached)} are pure:\n" + "\n".join(faults)


def test_three_modules_import_zmq() -> None:
    users = {name for name in MODULES if "zmq" in map(unit, imports(TREES[name]))}
    assert users == {"endpoint", "guard", "transport"}


# --- How long things are ------------------------------------------------------------------------


def lengths() -> tuple[dict[str, int], dict[str, int]]:
    """Lines of every module, and of every function."""
    whole = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    parts = {
        f"{module}:{name}": lines for module in TREES for name, lines in functions(TREES[module])
    }
    return whole, parts


def test_modules_and_functions_are_short() -> None:
    whole, parts = lengths()
    long = {
        name: lines for name, lines in whole.items() if lines > LISTS.get(name, MODULE_LINES_MAX)
    }
    long |= {name: lines for name, lines in parts.items() if lines > FUNCTION_LINES_MAX}
    assert long == TOO_LONG, "longer: make it two; shorter: lower its number in TOO_LONG"


def test_most_modules_and_functions_are_very_short() -> None:
    whole, parts = lengths()
    assert median(whole.values()) < MODULE_LINES_MEDIAN
    assert median(parts.values()) < FUNCTION_LINES_MEDIAN


def test_lines_fit_side_by_side_where_ruff_does_not_look() -> None:
    long = [
        f"{path.relative_to(ROOT)}:{number}: {len(line)} characters"
        for path in tracked()
        if path.suffix in COMPILED
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 100
    ]
    assert not long, "\n".join(long)


# --- What is public -----------------------------------------------------------------------------


def test_the_public_names_are_the_ones_we_keep() -> None:
    import hpczmq

    assert set(hpczmq.__all__) == PUBLIC
    assert len(hpczmq.__all__) == len(PUBLIC) <= PUBLIC_MAX
    assert all(hasattr(hpczmq, name) for name in PUBLIC)


Documented = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def undocumented(tree: ast.Module | Documented, prefix: str) -> Iterator[str]:
    """Public modules, classes and functions without a docstring."""
    if ast.get_docstring(tree) is None:
        yield prefix
    if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
        return  # what is inside a function is nobody else's
    for node in tree.body:
        if isinstance(node, Documented) and not node.name.startswith("_"):
            yield from undocumented(node, f"{prefix}.{node.name}")


def test_everything_public_has_a_docstring() -> None:
    missing = [line for name, tree in TREES.items() for line in undocumented(tree, name)]
    assert not missing, "\n".join(missing)


def test_only_the_face_of_the_program_prints() -> None:
    faults = [
        f"{name}:{node.lineno}"
        for name, tree in TREES.items()
        if name not in MAY_PRINT
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == "print"
    ]
    assert not faults, f"print in {faults}"


def test_every_bound_says_what_it_counts() -> None:
    names = [
        node.target.id
        for node in TREES["limits"].body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    ]
    bounds = [name for name in names if not name.isupper()]  # KIB and MIB are units themselves
    assert bounds
    assert not [name for name in bounds if not UNITS.search(name)]


# --- What is where ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kernels", "nodes", "cli.py"])
def test_the_links_are_links(name: str) -> None:
    link = PACKAGE / name
    assert link.is_symlink(), f"hpczmq/{name} must be a link: git config core.symlinks true"
    assert link.readlink() == Path("..", name)


@pytest.mark.parametrize("name", ["kernels", "nodes"])
def test_the_bare_names_are_refused(name: str) -> None:
    command = [sys.executable, "-c", f"import {name}"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"ImportError: import hpczmq.{name}" in done.stderr


def test_no_file_names_a_place_of_one_machine() -> None:
    faults = []
    for path in tracked():
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue  # a picture
        faults += [
            f"{path.relative_to(ROOT)}:{number}: {found[0]}"
            for number, line in enumerate(lines, 1)
            if (found := ELSEWHERE.search(line))
        ]
    assert not faults, "\n".join(faults)
