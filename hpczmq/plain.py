"""Text of others made harmless, before it goes to a terminal, a log or a table.

Names, causes, logs and labels come from other machines, and whoever wrote them has no business in
our terminal's settings, in the next line of our log, or in somebody's spreadsheet. What is kept is
what can be seen: every other character (control characters, ESC, the C1 ones, line separators,
what turns the direction of writing, what has no width, halves of surrogate pairs) is written as
Python would: ``\\x1b``, ``\\u202e``. Escaping twice is the same as once.
"""

from __future__ import annotations

#: Letters and marks by their class that show nothing: fillers, joiners, variation selectors.
_HIDDEN = frozenset(
    (*(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0),
     *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
)  # fmt: skip
#: What makes a spreadsheet take a cell for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def shown(value: object, chars_max: int = 80) -> str:
    """The value as it may be printed: one line, no control characters, bounded."""
    text = value if isinstance(value, str) else repr(value)
    text = _escaped(text[: chars_max + 1])
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def printable(text: str) -> str:
    """A text of several lines as it may be printed: newlines, tabs, no control characters."""
    return _escaped(text, "\n\t")


def block(text: str, indent: str = "    ") -> str:
    """The same, with all lines but the first one set in: none passes for a line of ours."""
    return printable(text).replace("\n", f"\n{indent}")


def cell(text: str) -> str:
    """A text as a cell of a CSV file that may be opened in a spreadsheet: never a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _escaped(text: str, kept: str = "") -> str:
    if text.isascii() and text.isprintable():  # nearly always
        return text
    return "".join(c if c in kept or _is_seen(c) else _code(ord(c)) for c in text)


def _is_seen(character: str) -> bool:
    return character.isprintable() and ord(character) not in _HIDDEN


def _code(number: int) -> str:
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
