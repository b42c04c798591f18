"""Every error that hpczmq raises on purpose.

Two halves, after h11: a `LocalError` is ours or our user's (a wrong value, a missing file, a
kernel that is not installed here), a `RemoteError` came over a socket (a peer that broke the
protocol, refused us, failed at the work, or never answered).

A message names the place, the value and the remedy, in that order, because it is all that a user
gets to see: ``jobs.txt:7: width = 0: must be 1..1048576``. `exit_code` is what a command returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# Given on: who raises an error shows a value in it.
from hpczmq.plain import printable as printable
from hpczmq.plain import shown as shown


class HpczmqError(Exception):
    """Base of all errors in this package; never raised itself."""

    #: What a command that ends with this error returns (CONTRACT: exit codes).
    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled by its text and attributes, since the constructors take other arguments: an
        # error that can't be unpickled takes a whole process pool down.
        return _restored, (type(self), str(self), self.__dict__)


class LocalError(HpczmqError):
    """The fault is on this side: nothing was sent, nothing was started."""

    exit_code = 2


class ParameterError(LocalError):
    """A parameter has a value that it can't have.

    Args:
        field: the name of the parameter, as the user wrote it.
        value: what it was set to.
        remedy: what it must be instead, as the end of a sentence ("must be 1..65536").
    """

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{field} = {shown(value)}: {remedy}")
        self.field = field
        self.value = value
        self.remedy = remedy


class JobFileError(LocalError):
    """A job file was refused, with every fault that it has; one line a fault."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class ConfigError(LocalError):
    """A configuration file, an `HPCZMQ_*` variable or an option has a wrong value."""


class KernelMissing(LocalError):
    """A kernel, or a part of one that has to be compiled, is not installed on this machine."""


class OutputError(LocalError):
    """A result can't be written where the user asked for it, and that was found out before the
    work. Found out after it, it is a `JobFailed`."""


class BindError(LocalError):
    """A socket can't be opened on the address that was asked for."""


class RemoteError(HpczmqError):
    """The fault came over a socket, or the work itself failed on another machine."""


class ProtocolError(RemoteError):
    """A frame does not decode, is of an unknown kind, or breaks a bound of `limits`.

    Args:
        code: a short word that can be counted ("kind", "bounds", "type", "frames", …).
        reason: the sentence for people.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class Refused(RemoteError):
    """A peer understood us and said no."""

    exit_code = 2

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class NotAllowed(Refused):
    """The key that we hold does not have the role for this."""

    exit_code = 4


class NoCluster(RemoteError):
    """Nobody answered at the address in the time that was given."""

    exit_code = 3


class TaskFailed(RemoteError):
    """A task raised, killed its worker too often, or ran out of time; carries the cause."""


class JobFailed(RemoteError):
    """A job ended without its whole result; carries the cause of the first task that failed."""


def _restored(kind: type[HpczmqError], text: str, attributes: dict[str, Any]) -> HpczmqError:
    error = kind.__new__(kind, text)
    error.__dict__.update(attributes)
    return error
