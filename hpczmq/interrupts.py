"""What a Ctrl-C, a TERM or a hang-up does: the first ends a command in order, the next at once.

`cli` imports this before anything else: loading the rest takes some tenths of a second, and a
Ctrl-C in them would print a traceback of whatever is being imported.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable

#: What a program returns that was interrupted (CONTRACT: exit codes).
EXIT_CODE = 130
#: Shows the cursor that a bar hides, and leaves the screen of `top`. Not 1049: where that screen
#: is not in use it still moves the cursor, over what was printed before.
_TERMINAL_BACK = b"\x1b[?1047l\x1b[?25h"
#: What else the end at once has to undo; quick, and without a raise.
undo: list[Callable[[], None]] = []


def install(clean_up: Callable[[], None]) -> None:
    """From here on the first signal raises KeyboardInterrupt, and the next one ends the process.

    Args:
        clean_up: what the end at once still has to do; it must be quick.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup: whoever started us said so
        numbers.append(signal.SIGHUP)

    def in_order(number: int, frame: object) -> None:
        for other in numbers:
            signal.signal(other, at_once)
        raise KeyboardInterrupt

    def at_once(number: int, frame: object) -> None:
        clean_up()
        for take_back in undo:
            take_back()
        for stream in (1, 2):
            if os.isatty(stream):
                os.write(stream, _TERMINAL_BACK)
        os._exit(EXIT_CODE)

    for number in numbers:
        signal.signal(number, in_order)


def _while_loading(number: int, frame: object) -> None:
    os.write(2, b"interrupted\n")
    os._exit(EXIT_CODE)


def _is_the_program() -> bool:
    """Whether this is `hpczmq` or cli.py on its way up, and not somebody who imports it."""
    name = os.path.splitext(os.path.basename(sys.argv[0] if sys.argv else ""))[0]
    ours = name in ("hpczmq", "cli") and threading.current_thread() is threading.main_thread()
    return ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler


if _is_the_program():
    signal.signal(signal.SIGINT, _while_loading)
