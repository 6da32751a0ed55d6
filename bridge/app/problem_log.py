"""Logs the bridge's problems: when they begin, at growing intervals while they last, when they end.

What concerns the receivers of a transmitter is logged by its own log (`transmitters.line_log`), which knows what waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from bridge.common.lasting import Lasting
from bridge.common.problems import About, Kind, Problem, Problems
from bridge.common.text import lasted

log = logging.getLogger(__name__)

_EACH_S = 5.0
_OVER = {
    Kind.PASSWORD_FILE: "the password file can be read again",
    Kind.REJECTED: "no rejected alarms are left",
    Kind.TEST_FAILED: "a test alarm was accepted",
    Kind.STORE_FAILED: "the store takes writes again",
    Kind.PANEL_OFFLINE: "online again",
    Kind.PANEL_UNREADABLE: "can be read again",
    Kind.ALARM_UNMATCHED: "the alarm that no rule forwards is over",
    Kind.PORT_TAKEN: "listening for panels",
    Kind.UNCONFIGURED_WAITING: "no alarms of unconfigured transmitters are left",
    Kind.CLOCK_WRONG: "the clock is right",
    Kind.WEB_PORT_TAKEN: "the status page is available",
    Kind.STANDBY_MISSING: "another node can take over",
    Kind.CONFIGURATION_DIFFERS: "all nodes have the same configuration",
}
"""The kinds that are logged here, and what is said when they are over."""
_MAY_HEAL = frozenset({Kind.PANEL_OFFLINE, Kind.PANEL_UNREADABLE})
_SAID = frozenset({Kind.REJECTED, Kind.ALARM_UNMATCHED})
"""Each alarm has a line of its own; here they are repeated."""


class ProblemLog:
    def __init__(self, problems: Problems, panel_name: Callable[[str], str]) -> None:
        """`panel_name` returns the name of the panel with a GUID."""
        self._panel_name = panel_name
        self._lasting: dict[tuple[Kind, About], tuple[Lasting, Problem]] = {}
        problems.follow(self._changed)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_EACH_S)
            now = time.monotonic()
            for lasting, problem in self._lasting.values():
                if lasting.is_due(now):
                    self._log(problem)

    def _changed(self, about: About, before: Problem | None, after: Problem | None) -> None:
        now = time.monotonic()
        problem = after or before
        if problem is None or problem.kind not in _OVER:
            return
        key = problem.kind, about
        if after is not None:
            lasting, _ = self._lasting.get(key, (Lasting(), after))
            self._lasting[key] = lasting, after
            if before is None and lasting.is_due(now) and after.kind not in _SAID:
                self._log(after)
        elif key in self._lasting:
            lasting, _ = self._lasting.pop(key)
            took = lasted(lasting.end(now) or 0.0)
            log.info("%s%s after %s", self._subject(about), _OVER[problem.kind], took, extra=self._fields(about))

    def _log(self, problem: Problem) -> None:
        level = logging.WARNING if problem.kind in _MAY_HEAL else logging.ERROR
        subject = "" if problem.about.panel else self._subject(problem.about)  # its text has the panel's name
        log.log(level, "%s%s", subject, problem.text, extra=self._fields(problem.about))

    def _subject(self, about: About) -> str:
        if about.transmitter is not None:
            return f"{about.transmitter}: "
        return "" if about.panel is None else f"panel {self._panel_name(about.panel)}: "

    def _fields(self, about: About) -> dict[str, object]:
        panel = None if about.panel is None else self._panel_name(about.panel)
        return {"transmitter": about.transmitter, "panel": panel, "receiver": about.receiver, "path": about.path}
