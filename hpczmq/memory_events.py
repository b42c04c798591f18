"""What can happen to a memoria, and what it wants done. Frozen; each is handled whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpczmq.history import Row
from hpczmq.messages import AskHistory, Message
from hpczmq.metrics import Alert, Metrics, Vitals


@dataclass(frozen=True, slots=True)
class Received:
    """A message arrived. `peer` is None for the master, else who asked on the own ROUTER."""

    message: Message
    peer: bytes | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. Carries the newest measurements of this machine, if there are new ones, and
    what its clock says, in seconds since 1970.
    """

    metrics: Metrics | None = None
    vitals: Vitals | None = None
    clock_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Told:
    """Another memoria has answered what `AskOther` asked."""

    message: Message


@dataclass(frozen=True, slots=True)
class Stop:
    """The memoria is to end now."""


Event = Received | Told | Tick | Stop


@dataclass(frozen=True, slots=True)
class Send:
    """Send to the master, or answer `peer` on the own ROUTER; without waiting."""

    message: Message
    peer: bytes | None = None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Listen to the master's PUB, at this port of its host."""

    port: int


@dataclass(frozen=True, slots=True)
class Publish:
    """Send to whoever listens to the alerts."""

    message: Message


@dataclass(frozen=True, slots=True)
class AskOther:
    """Ask another memoria, whose ROUTER is at this address."""

    address: str
    message: AskHistory


@dataclass(frozen=True, slots=True)
class Keep:
    """Write these rows to the disk, some time soon."""

    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class KeepAlerts:
    """Write to the disk what became of these alerts."""

    alerts: Sequence[Alert]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Tell the user's command of an alert that was raised, acknowledged or cleared."""

    alert: Alert


@dataclass(frozen=True, slots=True)
class Look:
    """Look up on the disk what `peer` asks for, in this resolution, and answer it."""

    ask: AskHistory
    tier: int
    peer: bytes


@dataclass(frozen=True, slots=True)
class Exit:
    """All is said; the process may end."""


Action = Send | Subscribe | Publish | AskOther | Keep | KeepAlerts | Alarm | Look | Exit
