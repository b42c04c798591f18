"""What the person before the dashboard wants to see, and what each key does. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from hpczmq.dashboard.board import SORTS, Board
from hpczmq.plain import printable

#: Characters of a filter.
_FILTER_CHARS: Final = 60
#: The keys, for the help.
KEYS: Final = (
    ("s", "sort slaves by the next: " + ", ".join(SORTS)),
    ("/", "show slaves whose name, state or label has these letters in it; Enter ends, Esc clears"),
    ("p or space", "pause, and go on"),
    ("j k, arrows", "pick a job: its picture is shown; Esc lets it go"),
    ("a", "acknowledge the first alert"),
    ("?", "this help"),
    ("q, Ctrl-C", "quit"),
)


class Order(Enum):
    """What is beyond the screen."""

    QUIT = "quit"
    ACKNOWLEDGE = "acknowledge the first alert"


@dataclass(slots=True)
class Screen:
    """What is to be seen."""

    sort: str = SORTS[0]
    #: What slaves must have in their name, state or labels; and whether it is being typed.
    filter: str = ""
    typing: bool = False
    paused: bool = False
    help: bool = False
    #: Job of the picture; empty: the first that runs.
    picked: str = ""
    #: What is to be told in the last line.
    told: str = ""

    def press(self, key: str, board: Board) -> Order | None:
        """A key: a character, or "up", "down", "enter", "escape", "backspace"."""
        self.told = ""
        if self.typing:
            self._type(key)
            return None
        match key:
            case "q":
                return Order.QUIT
            case "a":
                return Order.ACKNOWLEDGE
            case "s":
                self.sort = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)]
            case "/":
                self.typing = True
            case "p" | " ":
                self.paused = not self.paused
            case "?" | "h":
                self.help = not self.help
            case "j" | "down":
                self._pick(board, 1)
            case "k" | "up":
                self._pick(board, -1)
            case "escape":
                self.filter, self.picked, self.help = "", "", False
        return None

    def _type(self, key: str) -> None:
        match key:
            case "enter":
                self.typing = False
            case "escape":
                self.typing, self.filter = False, ""
            case "backspace":
                self.filter = self.filter[:-1]
            case _ if len(key) == 1 and printable(key) == key:
                self.filter = (self.filter + key)[:_FILTER_CHARS]

    def _pick(self, board: Board, step: int) -> None:
        ids = [row.id for row in board.jobs_in_order()]
        if self.picked in ids:
            self.picked = ids[min(len(ids) - 1, max(0, ids.index(self.picked) + step))]
        elif ids:
            self.picked = ids[0]
