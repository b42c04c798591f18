"""The slave's core: a pure state machine. `machine` is where to start reading."""

from hpczmq.worker.actions import Action, Exit, KillSlot, Note, RunLease, Send, StartSlot, Subscribe
from hpczmq.worker.events import (
    Buffer,
    Drain,
    Event,
    Received,
    SlotAnswered,
    SlotDied,
    SlotReady,
    Stop,
    Tick,
)
from hpczmq.worker.machine import Worker
from hpczmq.worker.state import Kept, Slot
from hpczmq.worker.states import SLOT_MOVES, SlotState

__all__ = [
    "SLOT_MOVES",
    "Action",
    "Buffer",
    "Drain",
    "Event",
    "Exit",
    "Kept",
    "KillSlot",
    "Note",
    "Received",
    "RunLease",
    "Send",
    "Slot",
    "SlotAnswered",
    "SlotDied",
    "SlotReady",
    "SlotState",
    "StartSlot",
    "Stop",
    "Subscribe",
    "Tick",
    "Worker",
]
