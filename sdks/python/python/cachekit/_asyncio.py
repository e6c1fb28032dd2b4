"""The event loop's half of the event-loop driver: bytes in, bytes out, wake-ups and deadlines.

The extension does no I/O in a coroutine. It hands over what is to be written and takes what was read, so replies wake
their callers without a second thread, and all that one iteration of the loop writes leaves in one call. Imported at the
first miss of an `async` function, since asyncio is the larger part of a program's start.
"""

from __future__ import annotations

import asyncio
import os
from contextvars import Context
from weakref import WeakSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from typing import Any, Literal, Optional, Protocol, Union

    Address = Union[tuple[Literal["tcp"], str, int], tuple[Literal["unix"], str]]

    class Pipe(Protocol):
        """The extension's side of a connection."""

        def connected(self) -> None: ...
        def feed(self, data: bytes, /) -> None: ...
        def lost(self, reason: str, /) -> None: ...
        def take_output(self) -> Optional[bytes]: ...
        def next_deadline(self) -> Optional[float]: ...
        def expire(self) -> None: ...


_ATTRIBUTE = "_cachekit_host"
_hosts: WeakSet[Host] = WeakSet()
# What a forked child inherited: alive for as long as the process, so that no destructor reaches the parent's loop.
_abandoned: list[Host] = []


def host() -> Host | None:
    """The host of the loop that runs in this thread, if one does. Kept on the loop, and so as long as the loop."""
    loop = asyncio._get_running_loop()
    if loop is None:
        return None
    found: Host | None = loop.__dict__.get(_ATTRIBUTE)
    if found is None:
        found = Host(loop)
        setattr(loop, _ATTRIBUTE, found)
        _hosts.add(found)
    return found


def current_task() -> object | None:
    """The task that runs now, if one does."""
    loop = asyncio._get_running_loop()
    return None if loop is None else asyncio.current_task(loop)


def abandon() -> None:
    """Lets go of every connection, in a forked child.

    The parent's loop and its selector are shared, so neither is touched: no `close`, no `abort`, no callback. Only the
    descriptors are closed, by putting another file in their place, so that a late destructor or a child that goes on
    with the inherited loop cannot reach the parent's sockets through their numbers.
    """
    for inherited in list(_hosts):
        _abandoned.append(inherited)
        inherited.loop.__dict__.pop(_ATTRIBUTE, None)
        inherited.abandon()
    _hosts.clear()


class Host:
    """What the extension needs of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.backends: dict[object, object] = {}
        """The extension's own state for this loop."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._connections: WeakSet[Connection] = WeakSet()

    def future(self) -> asyncio.Future[None]:
        """A future for a waiting coroutine to yield."""
        return self.loop.create_future()

    @staticmethod
    def wake(future: asyncio.Future[None]) -> None:
        """Ends the wait, in the loop's own thread."""
        if not future.done():
            future.set_result(None)

    def wake_threadsafe(self, future: asyncio.Future[None]) -> None:
        """Ends the wait, from any other thread. A loop that is closed has nobody who waits."""
        try:
            self.loop.call_soon_threadsafe(self.wake, future)
        except RuntimeError:
            pass

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs `coroutine` to its end, whoever forgets it.

        In an empty context: work that outlives the call which began it must not keep that call's variables alive.
        """
        task = Context().run(self.loop.create_task, coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Asked for, so that asyncio does not report it as never retrieved: it was counted where it happened.
            task.exception()

    def connection(self, pipe: Pipe, address: Address) -> Connection:
        """The connection that carries the bytes of `pipe`. Connects when it is told to."""
        connection = Connection(self, pipe, address)
        self._connections.add(connection)
        return connection

    def abandon(self) -> None:
        """Makes every connection deaf, in a forked child."""
        for connection in list(self._connections):
            connection.abandon()


class Connection:
    """A connection that is made again whenever it is asked for.

    None of the methods that the extension calls calls it back: they schedule, and the loop does the rest.
    """

    def __init__(self, host: Host, pipe: Pipe, address: Address) -> None:
        self._host = host
        self._loop = host.loop
        self._pipe = pipe
        self._address = address
        self._context = Context()
        self._link: Link | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._turn_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        # Closes the transport in `loop.shutdown_asyncgens()`, the one notice that a loop gives of its end.
        self._farewell: AsyncGenerator[None, None] | None = None

    def connect(self) -> None:
        """Begins to connect, unless that is under way."""
        if self._link is None and self._connecting is None:
            self._connecting = self._host.spawn(self._connect())
            self._schedule()

    def want_write(self) -> None:
        """Has what the pipe holds written, together with what the other tasks of this iteration add."""
        self._schedule()

    def close(self) -> None:
        """Breaks the connection off. The pipe is not told: it is who says so."""
        link, self._link = self._link, None
        if link is not None:
            link.break_off()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()

    def _schedule(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn, context=self._context)

    async def _connect(self) -> None:
        task = asyncio.current_task()
        try:
            if self._farewell is None:
                self._farewell = _retire_with_loop(self)
                await self._farewell.__anext__()
            await self._open()
        except (OSError, asyncio.TimeoutError) as error:
            if self._connecting is task:
                self._connecting = None
                self._pipe.lost(_reason(error))
                self._arm()

    async def _open(self) -> None:
        if self._address[0] == "unix":
            await self._loop.create_unix_connection(lambda: Link(self), self._address[1])
        else:
            _, name, port = self._address
            await self._loop.create_connection(lambda: Link(self), name, port)

    def link_made(self, link: Link) -> None:
        """A transport is there: the one that is wanted, or one that came too late."""
        if self._connecting is None or self._link is not None:
            link.break_off()
            return
        self._connecting = None
        self._link = link
        self._pipe.connected()
        self._turn()

    def link_fed(self, link: Link, data: bytes) -> None:
        """Bytes came in."""
        if link is self._link:
            self._pipe.feed(data)

    def link_lost(self, link: Link, error: Exception | None) -> None:
        """The transport is gone."""
        if link is self._link:
            self._link = None
            self._pipe.lost("the server closed the connection" if error is None else _reason(error))

    def _turn(self) -> None:
        """Writes what there is and looks after the deadline."""
        self._turn_due = False
        link = self._link
        if link is not None and link.writable:
            output = self._pipe.take_output()
            if output:
                link.write(output)
        self._arm()

    def link_writable(self) -> None:
        """The transport's buffer has room again."""
        self._turn()

    def _arm(self) -> None:
        """Keeps one timer, for the nearest deadline. One that fires too early arms itself again."""
        delay = self._pipe.next_deadline()
        if delay is None:
            return
        at = self._loop.time() + delay
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._expire, context=self._context)

    def _expire(self) -> None:
        self._timer = None
        self._pipe.expire()
        self._arm()

    def retire(self) -> None:
        """Says goodbye, when the loop is about to end."""
        self._farewell = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        link = self._link
        if link is not None:
            link.close()

    def abandon(self) -> None:
        """Becomes deaf, in a forked child."""
        link, self._link = self._link, None
        self._connecting = None
        if link is not None:
            link.abandon()


class Link(asyncio.Protocol):
    """One transport of a connection; the connection outlives it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._descriptor = -1
        self.writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        socket = transport.get_extra_info("socket")
        self._descriptor = -1 if socket is None else socket.fileno()
        self._connection.link_made(self)

    def data_received(self, data: bytes) -> None:
        self._connection.link_fed(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._descriptor = -1
        self._connection.link_lost(self, exc)

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._connection.link_writable()

    def write(self, data: bytes) -> None:
        """Hands `data` to the transport."""
        if self._transport is not None:
            self._transport.write(data)

    def break_off(self) -> None:
        """Ends the transport at once."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Ends the transport in order."""
        if self._transport is not None:
            self._transport.close()

    def abandon(self) -> None:
        """Takes this process's descriptor of the socket away, and nothing else."""
        if self._descriptor >= 0:
            nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(nowhere, self._descriptor, inheritable=False)
            os.close(nowhere)
            self._descriptor = -1


async def _retire_with_loop(connection: Connection) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        connection.retire()


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
