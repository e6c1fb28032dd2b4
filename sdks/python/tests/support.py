"""What several tests need: a real Redis, other interpreters, threads that call at once, and waiting for a condition."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

REDIS = shutil.which("redis-server")


def wait_until(condition: Callable[[], Any], seconds: float = 10.0, what: str = "the condition") -> Any:
    """The first true result of `condition`."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        time.sleep(0.002)


def wait_until_parked(threads: Iterable[int], process: int | None = None, seconds: float = 20.0) -> None:
    """Until these threads sleep and stay asleep: none of them has used the processor while the others were looked at.

    What a thread waits for inside the extension shows nowhere else.
    """

    def used() -> list[tuple[str, ...]]:
        stats = [Path(f"/proc/{process or os.getpid()}/task/{thread}/stat").read_text() for thread in threads]
        fields = [stat.rpartition(")")[2].split() for stat in stats]
        return [(field[0], field[11], field[12]) for field in fields]

    def parked() -> bool:
        before = used()
        time.sleep(0.02)
        return all(state == "S" for state, *_ in before) and used() == before

    threads = list(threads)
    wait_until(lambda: all(parked() for _ in range(3)), seconds, "parking")


class Gate:
    """A load that goes on when it is told to."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.calls += 1
            mine = self.calls
        self.entered.release()
        assert self.open.wait(20)
        return mine


def in_threads(count: int, call: Any) -> tuple[list[threading.Thread], list[Any]]:
    """`count` threads that call, and what came out of each: a result or an exception."""
    results: list[Any] = []

    def body() -> None:
        try:
            results.append(call())
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=body, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, results


def park(threads: list[threading.Thread]) -> None:
    """Until every thread stands in a wait, the leader in its gate."""
    wait_until_parked([thread.native_id for thread in threads if thread.native_id is not None])


def join(threads: list[threading.Thread], seconds: float = 20.0) -> None:
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive(), "a thread hangs"


# What a thread gets on macOS is half a megabyte; a build without optimisation needs more.
SMALL_STACK = 2 << 20


def on_a_small_stack(work: Callable[[], Any]) -> Any:
    """What `work` gives or raises in a thread of its own, whose stack is small."""
    if "ASAN_OPTIONS" in os.environ:
        pytest.skip("frames are several times as large in code that is watched")
    before = threading.stack_size(SMALL_STACK)
    try:
        threads, results = in_threads(1, work)
        join(threads)
    finally:
        threading.stack_size(before)
    [result] = results
    if isinstance(result, BaseException):
        raise result
    return result


def free_port() -> int:
    """A TCP port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RedisServer:
    """A Redis of our own, on a port and on a socket in a folder of its own. Ends exactly the process that it started."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ck"))
        self.socket = self.folder / "redis.sock"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.password: str | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket}"

    def start(self, *arguments: str) -> RedisServer:
        assert REDIS is not None
        self.process = subprocess.Popen(
            [
                REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket),
                "--save", "", "--appendonly", "no", "--dir", str(self.folder), "--loglevel", "warning", *arguments,
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(self._answers, what="redis-server")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "redis-server ended"
        try:
            return self.command("PING") in (b"PONG", None)
        except OSError:
            return False
        except RuntimeError:
            return True

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def suspend(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGCONT)

    def command(self, *words: str | bytes) -> Any:
        """Asks the server one thing over a connection of its own."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            stream = connection.makefile("rwb")
            if self.password is not None:
                stream.write(_pack("AUTH", self.password))
                stream.flush()
                _read(stream)
            stream.write(_pack(*words))
            stream.flush()
            return _read(stream)

    def keys(self) -> list[str]:
        return sorted(key.decode() for key in self.command("KEYS", "*"))

    def entries(self) -> list[str]:
        """The keys that are entries, and not generations."""
        return [key for key in self.keys() if not key.endswith(":gen")]

    def commands_processed(self, *names: str) -> int:
        """How many of some commands the server has seen."""
        total = 0
        for line in self.command("INFO", "commandstats").decode().splitlines():
            name, _, rest = line.partition(":")
            if name.removeprefix("cmdstat_") in names:
                total += int(rest.split(",")[0].removeprefix("calls="))
        return total

    def clients(self) -> list[str]:
        """The names of the connected clients, ours left out."""
        lines = self.command("CLIENT", "LIST").decode().splitlines()
        return [line for line in lines if "cmd=client" not in line]


def _pack(*words: str | bytes) -> bytes:
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _read(stream: Any) -> Any:
    line = stream.readline()
    if not line:
        raise ConnectionError("closed")
    kind, rest = line[:1], line[1:-2]
    if kind == b"+":
        return rest
    if kind == b"-":
        raise RuntimeError(rest.decode())
    if kind == b":":
        return int(rest)
    if kind == b"$":
        length = int(rest)
        return None if length < 0 else stream.read(length + 2)[:-2]
    assert kind == b"*", line
    return [_read(stream) for _ in range(int(rest))]


def environment(**variables: str) -> dict[str, str]:
    """The environment for another interpreter: nothing of ours in it but what is given."""
    ours = ("CACHEKIT_", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | variables


def run_python(code: str, *arguments: str, timeout: float = 60, **variables: str) -> str:
    """What `code` prints in another interpreter, which must end well."""
    result = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(**variables),
        cwd=Path(__file__).parent,
    )
    assert result.returncode == 0, f"exit {result.returncode}\n{result.stdout}\n{result.stderr}"
    assert "Exception ignored" not in result.stderr, result.stderr
    return result.stdout


@contextmanager
def python_process(code: str, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Another interpreter, running. Killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", textwrap.dedent(code), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**variables),
        cwd=Path(__file__).parent,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
