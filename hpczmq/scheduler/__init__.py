"""The master's core: a pure state machine. `machine` is where to start reading."""

from hpczmq.scheduler.machine import Scheduler

__all__ = ["Scheduler"]
