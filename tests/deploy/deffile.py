"""Apptainer's definition files, read by its rules: stages, their headers, their sections."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

SECTIONS: Final = {
    *("arguments", "environment", "files", "help", "labels", "post", "pre", "runscript", "setup"),
    *("startscript", "test"),
}
#: Those that a shell runs, and whether it is when the image is built.
SCRIPTS: Final = {"post": True, "test": True, "environment": False, "runscript": False} | {
    "startscript": False
}


@dataclass
class Stage:
    """One stage: what it starts from, and what is done there."""

    header: dict[str, str] = field(default_factory=dict)
    #: The text of each section by its name.
    sections: dict[str, str] = field(default_factory=dict)
    #: What is copied: from which stage (empty: the host), what, where to.
    files: list[tuple[str, str, str]] = field(default_factory=list)

    def arguments(self) -> dict[str, str]:
        """The variables of this stage, with what they are unless told otherwise."""
        lines = [line.strip() for line in self.sections.get("arguments", "").splitlines()]
        pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
        return {key.strip(): value.strip() for key, value in pairs}

    def script(self, section: str, given: dict[str, str]) -> str:
        """A section's script, with the values of its variables."""
        values = self.arguments() | given

        def value(found: re.Match[str]) -> str:
            return values[found[1]]

        return re.sub(r"{{\s*(\w+)\s*}}", value, self.sections[section])


def read(text: str) -> list[Stage]:
    """The stages of a definition file.

    Raises:
        ValueError: Apptainer would refuse it.
    """
    parts = re.split(r"(?mi)^(?=bootstrap:)", text)
    comments = [line for line in parts[0].splitlines() if line.strip() and line[0] != "#"]
    if comments:
        raise ValueError(f"{comments[0]}: stands before the first Bootstrap:")
    return [_stage(part) for part in parts[1:]]


def _stage(text: str) -> Stage:
    stage, name, source = Stage(), "", ""
    for line in text.splitlines():
        word = line.split()[0] if line.split() else ""
        if word.startswith("%"):
            name, source = word[1:].lower(), line.partition(" from ")[2].strip()
            if name not in SECTIONS:
                raise ValueError(f"{line}: is no section")
            stage.sections.setdefault(name, "")
        elif name == "files" and word and not word.startswith("#"):
            what, where = line.split()
            stage.files.append((source, what, where))
        elif name:
            stage.sections[name] += f"{line}\n"
        elif word and not word.startswith("#"):
            key, colon, value = line.partition("#")[0].partition(":")
            if not colon:
                raise ValueError(f"{line}: must be KEY: VALUE")
            stage.header[key.strip().lower()] = value.strip()
    return stage
