"""The bridge, but it dies by SIGKILL at the n-th step of a rotation: `CHAOS_STEP=n python step.py --config FILE run`.

A step is the moment before or after a call through which a rotation is seen from outside: a message sent or received,
a change of the password file, a result stored. They count from the first rotation on; `CHAOS_STEPS` gets their names.
"""

from __future__ import annotations

import functools
import inspect
import os
import signal
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge import cli
from bridge.common import files
from bridge.sos_access.connection import Connection, Dialer
from bridge.store import passwords
from bridge.store.outbox import Outbox

_DIES_AT = int(os.environ["CHAOS_STEP"])
_NAMES = Path(os.environ["CHAOS_STEPS"])
_counting = False
_count = 0


def _reached(name: str) -> None:
    global _count  # noqa: PLW0603 - one process, one count
    if not _counting:
        return
    _count += 1
    with _NAMES.open("a") as names:
        names.write(f"{name}\n")
    if _count == _DIES_AT:
        os.kill(os.getpid(), signal.SIGKILL)


def _watched(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def watched(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - whatever the call has
        _reached(f"before {name}")
        result = call(*args, **kwargs)
        _reached(f"after {name}")
        return result

    @functools.wraps(call)
    async def watched_async(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        _reached(f"before {name}")
        result = await call(*args, **kwargs)
        _reached(f"after {name}")
        return result

    return watched_async if inspect.iscoroutinefunction(call) else watched


async def _send(connection: Connection, data: bytes) -> None:
    global _counting  # noqa: PLW0603
    _counting = _counting or b"<requestnewauthentication" in data
    await _watched("a message is sent", _TRUE_SEND)(connection, data)


def _write_private(path: Path, content: bytes) -> None:
    """Watch each system call of it: those of its module and those of `Path`, which nothing else calls meanwhile."""
    names = {name: getattr(os, name) for name in dir(os)}
    names |= {name: _watched(f"the password file: {name}", getattr(os, name)) for name in ("open", "fsync", "close")}
    vars(files)["os"] = types.SimpleNamespace(**names)
    true_rename = Path.rename
    Path.rename = _watched("the password file: rename", true_rename)  # type: ignore[method-assign]
    try:
        _TRUE_WRITE(path, content)
    finally:
        Path.rename = true_rename  # type: ignore[method-assign]


_TRUE_SEND = Connection.send
_TRUE_WRITE = files.write_private
Dialer.connect = _watched("it connects", Dialer.connect)  # type: ignore[method-assign]
Connection.send = _send  # type: ignore[method-assign,assignment]
Connection.receive = _watched("the answer is read", Connection.receive)  # type: ignore[method-assign]
Outbox.complete = _watched("the result is stored", Outbox.complete)  # type: ignore[method-assign]
vars(passwords)["write_private"] = _write_private

if __name__ == "__main__":
    cli.main()
