"""What a command says: results on stdout (a table, or one JSON document), the rest on stderr."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from hpczmq import wire
from hpczmq.errors import ProtocolError
from hpczmq.jsontext import document
from hpczmq.plain import printable


class _Harmless(Console):
    """A console that takes no text for more than text, whoever has forgotten to see to it.

    Markup and emoji codes are text, and control characters are escaped in what rich has laid out.
    Where it is known that text comes from others, `hpczmq.plain` has seen to it before.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """What is to be drawn; rich's own moves of the cursor are left alone."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


class _Progress(_Harmless):
    """Where it is told how things go: they go on when nobody reads that any more."""

    def on_broken_pipe(self) -> None:
        """Be quiet from here on; rich would end the program."""
        self.quiet = True


class _Results(_Harmless):
    """Where results go; a reader who has seen enough of them is no fault of the jobs."""

    def on_broken_pipe(self) -> None:
        """Leave it to `cli.main`; rich would end the program with exit code 1."""
        raise BrokenPipeError  # without a number, which typer would take for its own


class Output:
    """Both streams of one command. Colour only on a terminal, and not with NO_COLOR."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        if sys.stdout is None:  # closed by whoever started us
            raise OSError(errno.EBADF, "standard output is closed")
        # Piped, a table is as wide as it wants: scripts must not get cut or folded cells.
        width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200
        self.out = _Results(file=sys.stdout, width=width, soft_wrap=False)
        self.err = _Progress(file=sys.stderr, soft_wrap=True)

    def show(self, shown: RenderableType, data: Any) -> None:
        """Print a result, in the form that was asked for."""
        if self.as_json:
            try:
                sys.stdout.write(document(plain(data)))
            except BrokenPipeError:
                raise BrokenPipeError from None  # without a number, as above
        else:
            self.out.print(shown)


def plain(value: Any) -> Any:
    """A value of ours in JSON's words: rows as objects, states as words, ids as hex."""
    if is_dataclass(value):
        return {f.name: _field(f.name, getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _field(name: str, value: Any) -> Any:
    if name == "params" and isinstance(value, bytes):  # a job's parameters travel packed
        try:
            return plain(wire.unpack(value, lists=True)) if value else {}
        except ProtocolError:
            return value.hex()
    return plain(value)
