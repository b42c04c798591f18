"""Frames over a socket pair: how a slave and its worker processes talk.

A message is a count, that many lengths, then the frames, all sizes as little-endian uint32. The
slave's end never blocks, since a worker may be stopped in the middle of a message.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Generator, Sequence

from hpczmq import limits
from hpczmq.wire import Buffer

_FRAMES_MAX = limits.buffers_max + 2
_FRAME_BYTES_MAX = max(limits.body_bytes_max, limits.buffer_bytes_max)


class Channel:
    """One end of the pair. Blocking or not is up to the socket."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._out: deque[memoryview] = deque()
        self._reader = _reader()
        #: The piece that is being read, and how much of it is here.
        self._piece = bytearray(_size(next(self._reader)))
        self._got = 0

    # --- Out ----------------------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether something waits until the other end reads."""
        return bool(self._out)

    def send(self, frames: Sequence[Buffer]) -> None:
        """Send a message; what does not fit now is sent by `flush`."""
        sizes = [len(memoryview(frame).cast("B")) for frame in frames]
        head = struct.pack(f"<{len(sizes) + 1}I", len(sizes), *sizes)
        self._out.append(memoryview(head))
        self._out.extend(memoryview(frame).cast("B") for frame in frames if len(frame))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as it fits."""
        while self._out:
            try:
                sent = self.socket.sendmsg([*self._out][:64])
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError):
                self._out.clear()  # the reader is gone; `receive` says so
                return
            while sent:
                if sent < len(self._out[0]):
                    self._out[0] = self._out[0][sent:]
                    break
                sent -= len(self._out.popleft())

    # --- In -----------------------------------------------------------------------------------

    def receive(self) -> list[bytearray] | None:
        """The next whole message; None if it is not here yet (non-blocking sockets).

        Raises:
            EOFError: the other end is gone.
        """
        while True:
            while self._got < len(self._piece):
                try:
                    size = self.socket.recv_into(memoryview(self._piece)[self._got :])
                except BlockingIOError:
                    return None
                except ConnectionResetError:
                    size = 0
                if size == 0:
                    raise EOFError("the other end is gone")
                self._got += size
            try:
                wanted = self._reader.send(self._piece)
            except StopIteration:
                raise EOFError("the stream made no sense before") from None
            message = None
            if isinstance(wanted, list):
                message, wanted = wanted, next(self._reader)
            self._piece, self._got = bytearray(_size(wanted)), 0
            if message is not None:
                return message


def _size(wanted: int | list[bytearray]) -> int:
    assert isinstance(wanted, int), "one message at a time"
    return wanted


def _reader() -> Generator[int | list[bytearray], bytearray, None]:
    """Takes the pieces of the stream; yields the size of the next one, or a whole message."""
    while True:
        (count,) = struct.unpack("<I", (yield 4))
        if not 1 <= count <= _FRAMES_MAX:
            raise EOFError(f"a message of {count} frames")
        sizes = struct.unpack(f"<{count}I", (yield 4 * count))
        if max(sizes) > _FRAME_BYTES_MAX:
            raise EOFError(f"a frame of {max(sizes)} bytes")
        frames = []
        for size in sizes:
            frames.append((yield size))
        yield frames
