"""The event loop's half of the driver, without the extension: a pipe of our own and a server that answers as told."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref
from typing import Any

import pytest

from cachekit import _asyncio
from conftest import Run
from support import run_python


class FakePipe:
    """Records what the connection does with it."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.output = b""
        self.deadline: float | None = None
        self.on_expire: Any = None
        self.taken = 0
        self.changed = asyncio.Event()

    def _note(self, event: Any) -> None:
        self.events.append(event)
        self.changed.set()

    async def until(self, event: Any) -> None:
        async def seen() -> None:
            while event not in self.events:
                self.changed.clear()
                await self.changed.wait()

        await asyncio.wait_for(seen(), 10)

    def connected(self) -> None:
        self._note("connected")

    def feed(self, data: bytes) -> None:
        self._note(data)

    def lost(self, reason: str) -> None:
        self._note(("lost", reason))

    def take_output(self) -> bytes | None:
        self.taken += 1
        taken, self.output = self.output, b""
        return taken or None

    def next_deadline(self) -> float | None:
        return self.deadline

    def expire(self) -> None:
        self.deadline = None
        self._note("expired")
        if self.on_expire is not None:
            self.on_expire()


class Server:
    """Echoes in upper case; counts reads and connections."""

    def __init__(self) -> None:
        self.reads: list[bytes] = []
        self.connections: list[asyncio.StreamWriter] = []
        self.ended = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __aenter__(self) -> Server:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go.set()
        self.server.close()
        for writer in self.connections:
            writer.close()
        while self.ended < len(self.connections):
            await asyncio.sleep(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        await self.go.wait()
        try:
            while data := await reader.read(65536):
                self.reads.append(data)
                writer.write(data.upper())
        except ConnectionError:
            pass
        self.ended += 1
        writer.close()


def connection_to(server: Server) -> tuple[_asyncio.Connection, FakePipe]:
    host = _asyncio.host()
    assert host is not None
    pipe = FakePipe()
    return host.connection(pipe, ("tcp", "127.0.0.1", server.port)), pipe


def test_there_is_one_host_for_each_loop_and_none_without_one(run: Run) -> None:
    assert _asyncio.host() is None
    assert _asyncio.current_task() is None

    async def main() -> _asyncio.Host:
        host = _asyncio.host()
        assert host is not None
        assert host is _asyncio.host()
        assert host.loop is asyncio.get_running_loop()
        assert _asyncio.current_task() is asyncio.current_task()
        return host

    one, two = run(main()), run(main())
    assert one is not two


def test_a_host_dies_with_its_loop(run: Run) -> None:
    async def main() -> Any:
        return weakref.ref(_asyncio.host())

    reference = run(main())
    gc.collect()
    assert reference() is None


def test_nothing_is_called_back_at_once_and_all_writes_leave_together(run: Run) -> None:
    async def main() -> None:
        async with Server() as server:
            connection, pipe = connection_to(server)
            connection.connect()
            connection.connect()
            assert pipe.events == []
            await pipe.until("connected")
            taken = pipe.taken
            pipe.output += b"one "
            connection.want_write()
            pipe.output += b"two "
            connection.want_write()
            assert pipe.output == b"one two "
            await pipe.until(b"ONE TWO ")
            assert server.reads == [b"one two "]
            assert pipe.taken == taken + 1
            assert len(server.connections) == 1

    run(main())


def test_output_waits_for_the_connection(run: Run) -> None:
    async def main() -> None:
        async with Server() as server:
            connection, pipe = connection_to(server)
            pipe.output = b"early"
            connection.want_write()
            await asyncio.sleep(0)
            assert pipe.output == b"early"
            connection.connect()
            await pipe.until(b"EARLY")

    run(main())


def test_refused_lost_and_made_again(run: Run) -> None:
    async def main() -> None:
        async with Server() as server:
            connection, pipe = connection_to(server)
            connection.connect()
            await pipe.until("connected")
            server.connections[0].close()
            await pipe.until(("lost", "the server closed the connection"))
            pipe.events.clear()
            connection.connect()
            await pipe.until("connected")
            connection.close()
            pipe.events.clear()
            connection.connect()
            await pipe.until("connected")
            # Of the connection that was broken off nothing is heard any more.
            assert pipe.events == ["connected"]
        pipe.events.clear()
        connection.close()
        connection.connect()
        while not pipe.events:
            pipe.changed.clear()
            await asyncio.wait_for(pipe.changed.wait(), 10)
        assert pipe.events[0][0] == "lost"

    run(main())


def test_closed_while_connecting(run: Run) -> None:
    async def main() -> None:
        async with Server() as server:
            connection, pipe = connection_to(server)
            connection.connect()
            connection.close()
            connection.connect()
            await pipe.until("connected")
            assert pipe.events == ["connected"]

    run(main())


def test_one_timer_for_the_nearest_deadline(run: Run) -> None:
    async def main() -> None:
        async with Server() as server:
            connection, pipe = connection_to(server)
            loop = asyncio.get_running_loop()
            begun = loop.time()
            pipe.deadline = 5.0
            connection.want_write()
            await asyncio.sleep(0)
            pipe.deadline = 0.02
            connection.want_write()
            await pipe.until("expired")
            assert 0.015 < loop.time() - begun < 2
            # Armed again by what the expiry left.
            pipe.events.clear()
            pipe.on_expire = lambda: setattr(pipe, "deadline", 0.01) if len(pipe.events) < 3 else None
            pipe.deadline = 0.01
            connection.want_write()
            await pipe.until("expired")
            while pipe.events.count("expired") < 3:
                pipe.changed.clear()
                await asyncio.wait_for(pipe.changed.wait(), 10)

    run(main())


def test_a_full_transport_is_not_written_to(run: Run) -> None:
    async def main() -> None:
        async with Server() as server:
            server.go.clear()
            connection, pipe = connection_to(server)
            connection.connect()
            await pipe.until("connected")
            sent = 0
            while True:
                pipe.output = bytes(1 << 20)
                connection.want_write()
                for _ in range(5):
                    await asyncio.sleep(0)
                if pipe.output:
                    break
                sent += 1 << 20
                assert sent < 1 << 28
            server.go.set()
            while pipe.output:
                await asyncio.sleep(0.001)
            sent += 1 << 20
            while sum(map(len, server.reads)) < sent:
                await asyncio.sleep(0.001)

    run(main())


def test_the_end_of_the_loop_closes_the_connection(run: Run) -> None:
    ended = threading.Event()

    async def main() -> None:
        async with Server() as server:
            connection, pipe = connection_to(server)
            connection.connect()
            await pipe.until("connected")
            await asyncio.get_running_loop().shutdown_asyncgens()
            while not server.ended:
                await asyncio.sleep(0.001)
            ended.set()

    run(main())
    assert ended.is_set()
    gc.collect()


def test_futures_and_wakes(run: Run) -> None:
    async def main() -> None:
        host = _asyncio.host()
        assert host is not None
        here = host.future()
        host.wake(here)
        host.wake(here)
        await here
        there = host.future()
        thread = threading.Thread(target=host.wake_threadsafe, args=(there,))
        thread.start()
        await asyncio.wait_for(there, 10)
        thread.join()
        return

    run(main())


def test_waking_a_closed_loop_is_nothing(run: Run) -> None:
    async def main() -> tuple[_asyncio.Host, Any]:
        host = _asyncio.host()
        assert host is not None
        return host, host.future()

    host, future = run(main())
    host.wake_threadsafe(future)


def test_spawned_work_is_held_and_does_not_hold_the_callers_context(run: Run) -> None:
    variable: contextvars.ContextVar[object] = contextvars.ContextVar("variable", default=None)
    seen: list[object] = []

    async def work() -> None:
        await asyncio.sleep(0)
        gc.collect()
        seen.append(variable.get())
        raise ValueError("nobody asks")

    async def main() -> None:
        host = _asyncio.host()
        assert host is not None
        variable.set("the caller's")
        host.spawn(work())
        while not seen:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not host._tasks

    run(main())
    gc.collect()
    assert seen == [None]


ABANDON = """
    import asyncio, os, sys
    from test_event_loop import Server, connection_to
    from cachekit import _asyncio

    async def main():
        async with Server() as server:
            connection, pipe = connection_to(server)
            connection.connect()
            if sys.argv[1] == "connected":
                await pipe.until("connected")
                descriptor = connection._link._descriptor
                _asyncio.abandon()
                assert connection._link is None
                assert os.readlink(f"/proc/self/fd/{descriptor}") == os.devnull
            else:
                _asyncio.abandon()
            assert _asyncio.host() not in _asyncio._abandoned
            pipe.events.clear()
            for _ in range(10):
                await asyncio.sleep(0)
            assert pipe.events == []
            print("deaf", flush=True)
            os._exit(0)

    asyncio.run(main())
"""


@pytest.mark.parametrize("state", ["connected", "connecting"])
def test_abandoned_connections_are_deaf_and_their_descriptors_are_nobodys(state: str) -> None:
    assert run_python(ABANDON, state) == "deaf\n"
