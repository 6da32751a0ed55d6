"""An event loop whose time passes only while nothing is to be done; work of the store's thread is waited for."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from bridge.store.database import Store

T = TypeVar("T")

_REAL_S = 0.05
"""Real seconds to look for what another thread has done."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time begins at 1000 s; it stands still while `busy`."""

    def __init__(self) -> None:
        self.virtual = 1000.0
        self.busy = 0
        super().__init__(_Selector(self))
        self._clock_resolution = 1e-6  # a time of many months has no nanoseconds

    def time(self) -> float:
        return self.virtual

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]  # noqa: ANN401
        self.busy += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._done)
        return future

    async def shutdown_default_executor(self, *timeout: Any) -> None:  # noqa: ANN401 - from Python 3.12 on
        self.busy += 1
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            self.busy -= 1

    def _done(self, _: object) -> None:
        self.busy -= 1


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        if self._loop.busy or timeout is None:
            return super().select(_REAL_S)
        if events := super().select(0):
            return events
        self._loop.virtual += timeout
        return []


@contextmanager
def _waited_for() -> Iterator[None]:
    true_run = Store._run

    async def run(self: Store, work: Any, *, write: bool) -> Any:  # noqa: ANN401 - whatever the work returns
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            return await true_run(self, work, write=write)
        loop.busy += 1
        try:
            return await true_run(self, work, write=write)
        finally:
            loop.busy -= 1

    Store._run = run  # type: ignore[method-assign]
    try:
        yield
    finally:
        Store._run = true_run  # type: ignore[method-assign]


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` in virtual time."""
    with _waited_for(), asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
