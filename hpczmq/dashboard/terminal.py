"""The terminal that the dashboard is on: its keys one by one, its lines one by one.

Whatever ends it, the terminal is as it was before: a return, an exception, a signal, and Ctrl-Z
too, until `fg`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import tty
from contextlib import suppress
from types import FrameType
from typing import Any, Final, Self

from rich.console import Console
from rich.control import Control
from rich.segment import Segment, Segments

from hpczmq import interrupts

_SEQUENCES: Final = {
    "\x1b[A": "up", "\x1b[B": "down", "\x1bOA": "up", "\x1bOB": "down",
    "\r": "enter", "\n": "enter", "\x7f": "backspace", "\b": "backspace", "\x1b": "escape",
}  # fmt: skip
#: Signals that wake a wait up: the window has another size; it is to stand still.
_WAKING: Final = (signal.SIGWINCH, signal.SIGTSTP)


class Keyboard:
    """Waits for keys, for so long; also for a signal, or for a word of another thread."""

    def __init__(self, source: int | None) -> None:
        #: Descriptor of the terminal; None: there are no keys.
        self._source = source
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def wake(self) -> None:
        """End a wait now; from any thread, or a signal's handler."""
        with suppress(OSError):  # woken often enough already, or closed
            os.write(self._wake, b"!")

    def wait(self, seconds: float) -> list[str]:
        """The keys that were pressed, as soon as there are some; none after so long."""
        sources = [self._woken] if self._source is None else [self._woken, self._source]
        ready, _, _ = select.select(sources, [], [], max(0.0, seconds))
        if self._woken in ready:
            os.read(self._woken, 4096)
        if self._source not in ready or self._source is None:
            return []
        pressed = os.read(self._source, 1024)
        if not pressed:  # the terminal is gone
            self._source = None
            return ["q"]
        return keys_of(pressed.decode(errors="replace"))

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self._woken)
        os.close(self._wake)


def keys_of(pressed: str) -> list[str]:
    """What a terminal sends, as keys: characters, and names of those that are none. Sequences
    that nobody knows are left out."""
    keys, rest = [], pressed
    while rest:
        known = next((s for s in _SEQUENCES if rest.startswith(s) and len(s) > 1), "")
        if known:
            keys.append(_SEQUENCES[known])
            rest = rest[len(known) :]
        elif rest[:2] in ("\x1b[", "\x1bO"):
            end = next((i for i, c in enumerate(rest[2:], 2) if "@" <= c <= "~"), len(rest) - 1)
            rest = rest[end + 1 :]
        else:
            key = _SEQUENCES.get(rest[0], rest[0])
            if len(key) > 1 or key.isprintable():
                keys.append(key)
            rest = rest[1:]
    return keys


class Painter:
    """Paints frames over each other on a terminal's other screen: only the lines that changed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: list[list[Segment]] = []

    def enter(self) -> None:
        """Show the other screen."""
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)
        self._last = []

    def leave(self) -> None:
        """Show what was there before."""
        self._console.set_alt_screen(False)
        self._console.show_cursor(True)

    def paint(self, frame: list[list[Segment]]) -> None:
        """Show a frame."""
        out: list[Segment] = []
        if len(frame) != len(self._last) or _width(frame) != _width(self._last):
            self._last = [[]] * len(frame)
            out += [Control.clear().segment, Control.home().segment]
        for number, (line, before) in enumerate(zip(frame, self._last, strict=True)):
            if line != before:
                out.append(Control.move_to(0, number).segment)
                out += line
        self._last = frame
        if out:
            self._console.print(Segments(out), end="", soft_wrap=True)


def _width(frame: list[list[Segment]]) -> int:
    return sum(segment.cell_length for segment in frame[0]) if frame else 0


class Terminal:
    """A terminal for frames and keys; use it as a context manager."""

    def __init__(self, console: Console) -> None:
        self._source = _keys_from()
        self._before: list[Any] | None = None
        self._old: dict[int, Any] = {}
        self._stands_still = False
        self.keyboard, self.painter = Keyboard(self._source), Painter(console)

    def __enter__(self) -> Self:
        for number in _WAKING:
            self._old[number] = signal.signal(number, self._woken)
        if self._source is not None:
            self._before = termios.tcgetattr(self._source)
        interrupts.undo.append(self._give_back)
        self._take()
        return self

    def __exit__(self, *exception: object) -> None:
        self.painter.leave()
        self._give_back()
        interrupts.undo.remove(self._give_back)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self.keyboard.close()

    def wait(self, seconds: float) -> list[str]:
        """See `Keyboard.wait`; a Ctrl-Z stands still in here, until the process goes on."""
        keys = self.keyboard.wait(seconds)
        if self._stands_still:
            self._stands_still = False
            self.painter.leave()
            self._give_back()
            handler = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTSTP)
            signal.signal(signal.SIGTSTP, handler)  # it goes on from here
            self._take()
        return keys

    def _woken(self, number: int, frame: FrameType | None) -> None:
        self._stands_still |= number == signal.SIGTSTP
        self.keyboard.wake()

    def _take(self) -> None:
        if self._source is not None:
            tty.setcbreak(self._source, termios.TCSANOW)
        self.painter.enter()

    def _give_back(self) -> None:
        if self._source is not None and self._before is not None:
            with suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(self._source, termios.TCSANOW, self._before)


def _keys_from() -> int | None:
    """The descriptor that keys come from: standard input, if that is a terminal of ours."""
    if sys.stdin is None or not sys.stdin.isatty():
        return None
    source = sys.stdin.fileno()
    try:
        # A job in the background may neither read from it nor change it: it would be stopped.
        return source if os.tcgetpgrp(source) == os.getpgrp() else None
    except OSError:  # it controls no process, so that nobody is stopped for it
        return source
