"""The HTTP server: page, events, report, metrics and health; it reads only."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from bridge.common.backoff import Backoff
from bridge.common.models import Secret
from bridge.record.months import Month
from bridge.web.access import Access
from bridge.web.board import Board

_FILES: Final = {"/": "index.html", "/style.css": "style.css", "/page.js": "page.js", "/icon.svg": "icon.svg"}
_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_LISTEN_AGAIN_S: Final = 30.0
"""The longest wait until a port that is taken is tried again."""
_EACH_S: Final = 1.0
"""What changes within it is sent to a page together."""
_ALIVE_EACH: Final = 15
"""Turns without news until a page is sent a comment: a connection that is gone is noticed."""
_SEND_S: Final = 10.0
"""A page that takes no data for so long is disconnected; it comes back by itself."""
_MOST_PAGES: Final = 16
_STOP_S: Final = 0.5
_OURS: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
_REPORTS: Final = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'self'"
_HEADERS: Final = {
    hdrs.SERVER: "sosbridge",
    hdrs.CACHE_CONTROL: "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Sources:
    """What the server reads beside the board."""

    connected: Callable[[], bool]
    """Whether the broker is there."""
    hanging: Callable[[], Awaitable[list[str]]]
    """Names what hangs."""
    report: Callable[[str, Month], Awaitable[str | None]]
    """Return the report of a transmitter and month; None: no such transmitter."""
    metrics: Callable[[], bytes] | None = None
    """Return the metrics; None: they are switched off."""
    state: Callable[[], str] = str
    """Return what this node does in its cluster, such as standby; '' without one."""
    dashboard: Callable[[], str] = str
    """Return the dashboard for Home Assistant; '': there is none."""


class WebServer:
    """Serves one board."""

    def __init__(
        self,
        host: str,
        port: int,
        login: Secret | None,
        board: Board,
        sources: Sources,
        on_listening: Callable[[str | None], None],
    ) -> None:
        """`on_listening` gets the reason each time the port is not free, and None once it listens."""
        self._listen = host, port
        self._access = Access(login)
        self._board = board
        self._sources = sources
        self._on_listening = on_listening
        self._pages = 0
        self._reporting = asyncio.Lock()
        self.started = asyncio.Event()
        self.address: tuple[str, int] = self._listen

    async def run(self) -> None:
        """Serve until cancelled. A port that is taken is tried again."""
        runner = web.AppRunner(self._app(), access_log=None, handle_signals=False, shutdown_timeout=_STOP_S)
        await runner.setup()
        try:
            await self._listening(runner)
            self.address = runner.addresses[0][:2]
            self._on_listening(None)
            self.started.set()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _listening(self, runner: web.AppRunner) -> None:
        backoff, (host, port) = Backoff(longest=_LISTEN_AGAIN_S), self._listen
        while True:
            site = web.TCPSite(runner, host, port)
            try:
                await site.start()
            except OSError as error:
                await site.stop()
                number = error.errno or 0
                why = os.strerror(number) if number > 0 else str(error)
                self._on_listening(f"cannot serve the status page on {host}:{port}: {why}")
                await asyncio.sleep(backoff.fail())
            else:
                return

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard], client_max_size=0)
        folder = Path(__file__).with_name("static")
        for path, name in _FILES.items():
            app.router.add_get(path, _file(folder / name))
        app.router.add_get("/events", self._events, allow_head=False)
        app.router.add_get("/state", self._state)
        app.router.add_get("/report/{transmitter}/{month}", self._report)
        app.router.add_get("/dashboard.yaml", self._dashboard)
        app.router.add_get("/healthz", self._health)
        if self._sources.metrics is not None:
            app.router.add_get("/metrics", self._metrics)
        app.on_response_prepare.append(_add_headers)
        return app

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self._access.check(request)
        return await handler(request)

    async def _health(self, request: web.Request) -> web.Response:
        wrong = [f"hangs: {name}" for name in await self._sources.hanging()]
        if "strict" in request.query:
            wrong += [f"{each.kind}: {each.about.transmitter or each.about.panel or 'bridge'}: {each.text}"
                      for each in self._board.problems]  # fmt: skip
        return web.Response(status=503 if wrong else 200, text="".join(f"{line}\n" for line in wrong or ["ok"]))

    async def _dashboard(self, _: web.Request) -> web.Response:
        if not (text := self._sources.dashboard()):
            raise web.HTTPNotFound(text="nothing is announced to Home Assistant; see homeassistant.enabled\n")
        return web.Response(text=text)

    async def _metrics(self, _: web.Request) -> web.Response:
        assert self._sources.metrics is not None  # noqa: S101 - else there is no route
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return web.Response(body=self._sources.metrics(), headers={hdrs.CONTENT_TYPE: kind})

    async def _report(self, request: web.Request) -> web.Response:
        try:
            month = Month.parse(request.match_info["month"])
        except ValueError as error:
            raise web.HTTPNotFound(text=f"{error}\n") from None
        async with self._reporting:  # one at a time: alarms wait for the store meanwhile
            text = await self._sources.report(request.match_info["transmitter"], month)
        if text is None:
            raise web.HTTPNotFound(text="no such transmitter\n")
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": _REPORTS})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Send everything, then what has changed, until the page is closed."""
        if self._pages >= _MOST_PAGES:
            raise web.HTTPServiceUnavailable(text="too many pages are open\n")
        self._pages += 1
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream", "X-Accel-Buffering": "no"})
        try:
            await response.prepare(request)
            await self._follow(response)
        except (ConnectionError, TimeoutError):
            pass
        finally:
            self._pages -= 1
        return response

    async def _state(self, request: web.Request) -> web.Response:
        """Return what has changed since `?since`, for where a proxy such as the ingress holds events back."""
        try:
            since = int(request.query.get("since", "-1"))
        except ValueError:
            raise web.HTTPBadRequest(text="since: expected a number\n") from None
        return web.json_response(self._news(since if since <= self._board.sequence else -1))

    def _news(self, sequence: int) -> dict[str, object]:
        if sequence < self._board.forgotten:
            sequence = -1
        online = self._sources.connected()
        more: dict[str, object] = {"connected": online, "whole": sequence < 0, "sequence": self._board.sequence}
        if state := self._sources.state():
            more["state"] = state
        return self._board.since(sequence) | more

    async def _follow(self, response: web.StreamResponse) -> None:
        sequence, shown, quiet = -1, None, 0
        while True:
            online = self._sources.connected(), self._sources.state()
            if self._board.sequence != sequence or online != shown:
                news = json.dumps(self._news(sequence))
                sequence, shown, quiet = self._board.sequence, online, 0
                await _send(response, f"data: {news}\n\n")
            elif (quiet := quiet + 1) >= _ALIVE_EACH:
                quiet = 0
                await _send(response, ": alive\n\n")
            await asyncio.sleep(_EACH_S)


async def _send(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(_SEND_S):
        await response.write(text.encode())


def _file(path: Path) -> Callable[[web.Request], Awaitable[web.Response]]:
    body, kind = path.read_bytes(), _TYPES[path.suffix]

    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return serve


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("Content-Security-Policy", _OURS)
    response.headers.update(_HEADERS)
