"""Forking: a parent that has used everything, a child that goes on, and neither hangs.

Each program runs in an interpreter of its own, since a test runner has threads that a forked child would be without.
"""

from __future__ import annotations

import os
import textwrap

import pytest

from support import RedisServer, run_python

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

PRELUDE = """
    import asyncio, os, sys, threading, time, traceback, warnings
    from cachekit import cache, configure
    import cachekit
    warnings.simplefilter("ignore", DeprecationWarning)

    configure(backend=sys.argv[1])

    @cache(namespace="sync")
    def sync(x):
        return f"sync {{x}}"

    @cache(namespace="remote only", l1=False)
    def remote(x):
        return f"remote {{x}}"

    @cache(namespace="async", l1=False)
    async def asynchronous(x):
        await asyncio.sleep(0)
        return f"async {{x}}"

    def run(main):
        {runner}

    def child(body):
        "Runs `body` in a forked child that must end well within 20 s."
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                body()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        deadline = time.monotonic() + 20
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                assert status == 0, f"child ended with {{status}}"
                return
            if time.monotonic() > deadline:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                raise AssertionError("the child hangs")
            time.sleep(0.002)

    def use(start, kinds=3):
        for x in range(start, start + 5):
            assert sync(x) == f"sync {{x}}"
            assert remote(x) == f"remote {{x}}"
            assert remote(x) == f"remote {{x}}"

        async def main():
            for x in range(start, start + 5):
                assert await asynchronous(x) == f"async {{x}}"
                assert await asynchronous(x) == f"async {{x}}"
            assert await asyncio.gather(*(asynchronous(x) for x in range(30))) == [f"async {{x}}" for x in range(30)]
        run(main())
        assert "cachekit_loads_total" in cachekit.metrics_text()
"""
ASYNCIO = "return asyncio.run(main)"
UVLOOP = "import uvloop; return uvloop.new_event_loop().run_until_complete(main)"


def run_program(body: str, url: str, runner: str = ASYNCIO, timeout: float = 60) -> str:
    """What a program prints that has all of the above, with `url` as its backend."""
    code = textwrap.dedent(PRELUDE).format(runner=runner) + textwrap.dedent(body)
    return run_python(code, url, timeout=timeout)


@pytest.mark.parametrize("runner", [ASYNCIO, UVLOOP], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_parent_and_children_work_after_a_fork(redis: RedisServer, runner: str, kind: str) -> None:
    if runner is UVLOOP:
        pytest.importorskip("uvloop")
    out = run_program(
        """
        use(0)
        info = remote.cache_info()
        for generation in range(3):
            child(lambda: use(100 * generation))
            use(1000 * generation)
        child(lambda: child(lambda: use(5)))
        assert remote.cache_info().remote_errors == 0
        print("done", remote.cache_info().l2_hits > info.l2_hits)
        """,
        redis.url if kind == "tcp" else redis.unix_url,
        runner,
    )
    assert out == "done True\n"


@pytest.mark.parametrize("runner", [ASYNCIO, UVLOOP], ids=["asyncio", "uvloop"])
def test_a_fork_inside_a_running_loop(redis: RedisServer, runner: str) -> None:
    if runner is UVLOOP:
        pytest.importorskip("uvloop")
    out = run_program(
        """
        async def outer():
            for x in range(5):
                await asynchronous(x)
            pending = [asyncio.create_task(asynchronous(x)) for x in range(100, 150)]
            await asyncio.sleep(0)

            def body():
                # A loop of its own, in a thread: the inherited one is not touched.
                failures = []
                def inside():
                    try:
                        use(7)
                    except BaseException as error:
                        failures.append(error)
                thread = threading.Thread(target=inside)
                thread.start()
                thread.join()
                assert not failures, failures

            child(body)
            assert await asyncio.gather(*pending) == [f"async {x}" for x in range(100, 150)]
            for x in range(200, 250):
                assert await asynchronous(x) == f"async {x}"
                assert await asynchronous(x) == f"async {x}"
            assert asynchronous.cache_info().remote_errors == 0, asynchronous.cache_info()
        run(outer())
        print("done")
        """,
        redis.unix_url,
        runner,
    )
    assert out == "done\n"


def test_a_child_that_goes_on_with_the_inherited_loop(redis: RedisServer) -> None:
    out = run_program(
        """
        loop = asyncio.new_event_loop()
        async def some(start):
            for x in range(start, start + 5):
                assert await asynchronous(x) == f"async {x}"
                assert await asynchronous(x) == f"async {x}"
        loop.run_until_complete(some(0))
        child(lambda: loop.run_until_complete(some(10)))
        loop.run_until_complete(some(20))
        assert asynchronous.cache_info().remote_errors == 0, asynchronous.cache_info()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        print("done")
        """,
        redis.unix_url,
    )
    assert out == "done\n"


def test_forks_while_other_threads_are_inside_everything(redis: RedisServer) -> None:
    out = run_program(
        """
        stop = threading.Event()
        failures = []

        def busy(number):
            x = 0
            try:
                while not stop.is_set():
                    x += 1
                    sync(x % 50)
                    sync.invalidate(x % 50)
                    remote(x % 50)
                    cachekit.metrics_text()
                    if x % 10 == 0:
                        sync.cache_clear()
                        cache(namespace=f"made {number} {x}")(lambda: 1)()
            except BaseException as error:
                failures.append(error)
                raise

        def busy_loop():
            async def main():
                x = 0
                while not stop.is_set():
                    x += 1
                    await asyncio.gather(*(asynchronous(x + y) for y in range(10)))
            try:
                asyncio.run(main())
            except BaseException as error:
                failures.append(error)
                raise

        threads = [threading.Thread(target=busy, args=(n,)) for n in range(4)] + [threading.Thread(target=busy_loop)]
        for thread in threads:
            thread.start()
        for n in range(25):
            child(lambda: use(10_000 + n))
        stop.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive(), "a thread of the parent hangs"
        assert not failures
        use(20_000)
        print("done")
        """,
        redis.unix_url,
        timeout=180,
    )
    assert out == "done\n"


@pytest.mark.parametrize("tiers", ["", ", backend=None"], ids=["both tiers", "this process"])
def test_a_child_does_not_wait_for_a_load_that_only_the_parent_runs(redis: RedisServer, tiers: str) -> None:
    out = run_program(
        """
        entered, leave = threading.Event(), threading.Event()

        @cache(namespace="slow"TIERS)
        def slow():
            entered.set()
            leave.wait()
            return os.getpid()

        thread = threading.Thread(target=slow)
        thread.start()
        entered.wait()

        def body():
            leave.set()
            assert slow() == os.getpid()

        child(body)
        leave.set()
        thread.join()
        # Whoever wrote last is what the remote tier has; here it is the parent's own.
        assert slow() == os.getpid()
        print("done")
        """.replace("TIERS", tiers),
        redis.unix_url,
    )
    assert out == "done\n"


def test_a_load_that_forks_ends_on_both_sides(redis: RedisServer) -> None:
    out = run_program(
        """
        @cache(backend=None)
        def forking(x):
            if x:
                pid = os.fork()
                if pid == 0:
                    return "child"
                assert os.waitpid(pid, 0)[1] == 0
            return forking(0) if x else "parent"

        result = forking(1)
        for _ in range(2):
            assert forking(1) == result and forking(0) == "parent"
        assert forking.cache_info().l1_hits >= 3
        if result == "child":
            os._exit(0)
        print(result)
        """,
        redis.unix_url,
    )
    assert out == "parent\n"


def test_the_server_sees_no_goodbye_from_a_child(redis: RedisServer) -> None:
    out = run_program(
        """
        use(0)
        def body():
            pass
        for _ in range(3):
            child(body)
        child(lambda: use(1))
        before = remote.cache_info().remote_errors, asynchronous.cache_info().remote_errors
        use(50)
        assert (remote.cache_info().remote_errors, asynchronous.cache_info().remote_errors) == before == (0, 0)
        print("done")
        """,
        redis.url,
    )
    assert out == "done\n"


def test_disabled_is_inherited(redis: RedisServer) -> None:
    out = run_program(
        """
        with cachekit.disabled():
            child(lambda: (sync(1), None) if cachekit.is_disabled() else sys.exit(3))
        child(lambda: sys.exit(3) if cachekit.is_disabled() else None)
        print("done")
        """,
        redis.url,
    )
    assert out == "done\n"


def test_multiprocessing_spawn_and_fork(redis: RedisServer) -> None:
    for method in ("spawn", "fork", "forkserver"):
        out = run_python(
            """
            import multiprocessing, sys
            import identity_module

            if __name__ == "__main__":
                import warnings
                warnings.simplefilter("ignore", DeprecationWarning)
                mine = identity_module.module_level(1)
                context = multiprocessing.get_context(sys.argv[1])
                with context.Pool(2) as pool:
                    theirs = pool.map(identity_module.module_level, [1, 1, 1, 1])
                    pool.close()
                    pool.join()
                print(theirs == [mine] * 4)
            """,
            method,
            REDIS_URL=redis.unix_url,
        )
        assert out == "True\n", method
        redis.command("FLUSHALL")


def test_a_child_does_not_wait_for_loads_of_threads_that_it_is_without() -> None:
    out = run_program(
        """
        entered, joined, go_on = threading.Semaphore(0), threading.Semaphore(0), threading.Event()
        before = os.getpid()

        @cache(backend=None)
        def here(x):
            if os.getpid() == before and threading.current_thread() is not threading.main_thread():
                entered.release()
                assert go_on.wait(20)
            if x == "fork":
                child(lambda: [same(here(x), x) for x in (1, 2, 1)])
            return x

        def same(got, wanted):
            assert got == wanted

        threads = [threading.Thread(target=here, args=(x,)) for x in (1, 2)]
        for thread in threads:
            thread.start()
            entered.acquire()
        child(lambda: [same(here(x), x) for x in (1, 2, 1)])
        assert here("fork") == "fork"
        child(lambda: same((here("fork"), here(2)), ("fork", 2)))
        go_on.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        print("done", here.peek(1), here.peek(2), here.peek("fork"))
        """,
        "memory://",
    )
    assert out == "done 1 2 fork\n"
