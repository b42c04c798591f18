"""The documentation, held against the code and the files that it speaks of."""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
import typer

from hpczmq import cli, keycommands, roles
from hpczmq.config import Config
from hpczmq.identity import KeyRole
from hpczmq.messages import KINDS, PROTOCOL

ROOT = Path(__file__).resolve().parents[2]
FILES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md"))]
COLUMNS_MAX = 120
PICTURE_BYTES_MAX = 400 * 1024


def text(name: str) -> str:
    return (ROOT / name).read_text()


def prose(page: str) -> str:
    """A page without its code."""
    return re.sub(r"```.*?```", "", page, flags=re.DOTALL)


def anchors(page: str) -> set[str]:
    """What a link into a page may name, by the rule of those who show Markdown."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    below = page.split(f"\n## {heading}\n", 1)[1]
    table = re.search(r"^\|.*?(?=\n\n|\Z)", below, re.MULTILINE | re.DOTALL)
    assert table is not None, f"no table below {heading}"
    lines = table[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_link_has_its_target(path: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", prose(path.read_text())):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), f"{path.name}: {link}"
        if anchor:
            assert anchor in anchors(target.read_text()), f"{path.name}: {link}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_lines_of_the_documentation_fit_a_window(path: Path) -> None:
    lines = enumerate(path.read_text().splitlines(), 1)
    # A row of a table can't be wrapped; elsewhere than on the scorecard none has to be that long.
    rows_too = path.name != "scorecard.md"
    long = [n for n, line in lines if len(line) > COLUMNS_MAX and (rows_too or line[0] != "|")]
    assert not long, f"{path.name}: more than {COLUMNS_MAX} characters in lines {long}"


def test_every_command_stands_in_the_readme_with_its_other_names() -> None:
    table = rows(text("README.md"), "Commands")
    told = {(row[0].strip("`").split()[0], row[1].strip("`")) for row in table}
    told.remove(("keys", "claves"))  # which has commands of its own
    named: dict[object, list[str]] = {}
    for info in cli.app.registered_commands:
        assert info.name is not None
        named.setdefault(info.callback, []).append(info.name)
    assert told == {(names[0], ", ".join(names[1:])) for names in named.values()}


def test_every_option_in_spanish_stands_in_the_readme() -> None:
    groups = (typer.main.get_group(app) for app in (cli.app, keycommands.app))
    commands = [command for group in groups for command in group.commands.values()]
    options = {name for command in commands for param in command.params for name in param.opts}
    told = set(re.findall(r"`(--[a-z-]+)", text("README.md")))
    assert told <= options | {"--help"}, "the README names options that no command has"
    others = {
        name
        for command in commands
        for param in command.params
        for name in param.opts[1:]
        if name.startswith("--") and name not in ("--output", "--help")
    }
    assert others <= told


def test_every_command_about_keys_stands_in_the_readme() -> None:
    told = text("README.md").split("\n### Keys\n", 1)[1].split("\n## ", 1)[0]
    named: dict[object, list[str]] = {}
    for info in keycommands.app.registered_commands:
        assert info.name is not None
        named.setdefault(info.callback, []).append(info.name)
    assert all(f"`{name}" in told and f"(`{other}`" in told for name, other in named.values())


def test_the_table_of_roles_is_that_of_the_code() -> None:
    table = rows(text("docs/security.md"), "What each role may say")
    columns = [role for role in KeyRole if role is not KeyRole.NEWCOMER]
    told = {
        row[0].strip("`"): {role for role, cell in zip(columns, row[1:], strict=True) if cell}
        for row in table
    }
    allowed = {kind.__name__: set(may) for kind, may in roles.MAY_SAY.items()}
    assert allowed.pop("Enrol") == {KeyRole.NEWCOMER}
    assert told == allowed


def test_every_setting_stands_in_the_readme() -> None:
    told = {row[0].strip("`"): row[1] for row in rows(text("README.md"), "Configuration")}
    assert told.keys() == {field.name for field in fields(Config)} - {"lifeline"}
    for key, variables in told.items():
        assert f"`HPCZMQ_{key.upper()}`" in variables


def test_every_message_kind_stands_in_the_protocol() -> None:
    page = text("docs/protocol.md")
    told = {int(row[0]): row[1].strip("`") for row in rows(page, "Kinds")}
    assert told == {number: kind.__name__ for number, kind in KINDS.items()}
    assert f"Protocol {PROTOCOL}." in page


def test_the_readme_draws_its_picture_as_it_says() -> None:
    command = re.search(r'^RENDER = "(.*)"$', text("docs/pictures.py"), re.MULTILINE)
    assert command is not None
    assert f"$ hpczmq {command[1]}\n" in text("README.md")


def test_every_module_has_its_line_in_the_architecture() -> None:
    table = {row[0] for row in rows(text("ARCHITECTURE.md"), "Where does a thing belong")}
    told = {
        name.rpartition("/")[2] or name for row in table for name in re.findall(r"`(.*?)`", row)
    }
    for folder in ("hpczmq", "hpczmq/scheduler", "kernels", "nodes"):
        for path in (ROOT / folder).glob("*.py"):
            assert path.name in told or path.name.startswith("_"), f"{folder}/{path.name}"


def test_the_imports_of_the_architecture_are_allowed() -> None:
    table = re.search(
        r"^MAY_IMPORT = (\{.*?^\})", text("tests/test_tidy.py"), re.MULTILINE | re.DOTALL
    )
    assert table is not None
    allowed = ast.literal_eval(table[1])
    told = re.findall(r"^(\w+) +→ ([\w, ]+)", text("ARCHITECTURE.md"), re.MULTILINE)
    assert told
    for left, right in told:
        names = set(right.strip().split(", ")) - {"limits", "errors"}
        assert names <= set(allowed[left].split()), f"{left} → {names - set(allowed[left].split())}"


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads(text("pyproject.toml"))
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["test"],
        *project["build-system"]["requires"],
    ]
    told = text("CONTRIBUTING.md").split("\n## Dependencies\n", 1)[1]
    names = {re.split(r"[<>=\[; ]", line)[0] for line in wanted}
    missing = [name for name in sorted(names) if not re.search(rf"\b{name}\b", told)]
    assert not missing


def test_every_pinned_package_has_its_hash() -> None:
    for name in ("constraints.txt", "constraints-run.txt"):
        pinned = re.split(
            r"\n(?=\S)", re.sub(r"^#.*\n", "", text(name), flags=re.MULTILINE).strip()
        )
        assert len(pinned) > 5
        for package in pinned:
            assert re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", package, re.DOTALL), (
                package
            )


def test_every_defence_of_the_threat_model_has_a_test_that_is_there() -> None:
    files = (ROOT / "tests").rglob("test_*.py")
    names = {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text())}
    defended = re.findall(r"^\|.*\|.*\|(.*)\|$", text("docs/threat-model.md"), re.MULTILINE)
    shown = [cell.strip() for cell in defended if cell.strip(" -") not in ("", "tests")]
    assert len(shown) > 40
    for cell in shown:
        tests = re.findall(r"`([^`]*)`", cell)
        assert tests or cell == "the same", cell
        for test in tests:
            if test.startswith("make "):
                assert re.search(rf"^{test[5:]}:", text("Makefile"), re.MULTILINE), test
            else:
                cut = test.endswith("…")
                meant = [n for n in names if (n.startswith(test[:-1]) if cut else n == test)]
                assert len(meant) == 1, f"{test}: {meant}"


def test_every_fragment_says_what_kind_of_change_it_is() -> None:
    for path in (ROOT / "changelog.d").iterdir():
        assert re.fullmatch(r"[\w-]+\.(added|changed|fixed|removed)\.md", path.name), path.name
        assert path.read_text().strip()
        assert all(len(line) <= COLUMNS_MAX for line in path.read_text().splitlines()), path.name


def test_pictures_are_small_and_load_nothing() -> None:
    for path in (ROOT / "docs" / "images").iterdir():
        assert path.stat().st_size <= PICTURE_BYTES_MAX, path.name
        if path.suffix == ".svg":
            assert not re.search(r"url\(['\"]?http|@import|<script|<image", path.read_text())
