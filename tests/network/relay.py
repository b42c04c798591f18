"""A relay that delays: `python relay.py HOST PORT…` listens on these ports of its own host and
passes everything on to the same ports of HOST, each piece 200 ms ± 100 ms later, in order.

The kernel's own queue for that, netem, is not in every kernel.
"""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress
from functools import partial

DELAY_S = (0.1, 0.3)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One direction of one connection, until it ends."""
    loop, dice = asyncio.get_running_loop(), random.Random(7)
    line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1000)

    async def deliver() -> None:
        while True:
            due, data = await line.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                return
            writer.write(data)
            await writer.drain()

    delivering = asyncio.create_task(deliver())
    with suppress(ConnectionError):
        due = 0.0
        while True:
            data = await reader.read(65536)
            due = max(due, loop.time() + dice.uniform(*DELAY_S))
            await line.put((due, data))
            if not data:
                break
        await delivering
    delivering.cancel()
    writer.close()


async def main(host: str, ports: list[int]) -> None:
    """Relay until ended."""

    async def accept(port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, there[1]), pump(there[0], writer))

    for port in ports:
        await asyncio.start_server(partial(accept, port), "127.0.0.1", port)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1], [int(port) for port in sys.argv[2:]]))
