"""What a forked child does first: it lets go of the parent's event loops and connections, without touching them.

A hook, and no comparison of process ids, which are reused. That no lock of the extension is held in the child is the
extension's own care, since hooks of other modules run between this package's and the fork itself.
"""

from __future__ import annotations

import os
import sys

from cachekit import _native


def _before() -> None:
    # Before the imports: what the thread releases may import something.
    _native.stop_sweeper()
    # A module that another thread is importing would stay half made in the child, and locked.
    _native.hold_imports()


def _in_child() -> None:
    _native.release_imports()
    event_loops = sys.modules.get("cachekit._asyncio")
    if event_loops is not None:
        event_loops.abandon()
    _native.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before,
        after_in_parent=_native.release_imports,
        after_in_child=_in_child,
    )
