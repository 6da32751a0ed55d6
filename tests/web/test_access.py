"""Who may read the page, and what each answer carries."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp.test_utils import make_mocked_request
from support.brokers import free_port

from bridge.common.models import Secret
from bridge.common.problems import About, Kind, Problems
from bridge.record.months import Month
from bridge.web.access import Access
from bridge.web.board import Board
from bridge.web.server import Sources, WebServer

RIGHT, WRONG = (
    {"Authorization": f"Basic {base64.b64encode(login).decode()}"}
    for login in (b"reader:opensesame", b"reader:opensesamf")
)
PATHS = (
    "/",
    "/style.css",
    "/page.js",
    "/icon.svg",
    "/dashboard.yaml",
    "/healthz",
    "/metrics",
    "/report/home/2026-11",
    "/state",
    "/events",
)


class Page:
    """A server and what it reads."""

    def __init__(self, login: str | None = None, *, metrics: bool = True) -> None:
        self.problems = Problems()
        self.board = Board("sosbridge", self.problems)
        self.hangs: list[str] = []
        self.listening: list[str | None] = []
        self.dashboard = "title: Alarm\n"
        shown = (lambda: b"up 1\n") if metrics else None
        sources = Sources(lambda: True, self._hanging, self._report, shown, dashboard=lambda: self.dashboard)
        secret = None if login is None else Secret(login)
        self.server = WebServer("127.0.0.1", free_port(), secret, self.board, sources, self.listening.append)

    async def _hanging(self) -> list[str]:
        return self.hangs

    async def _report(self, transmitter: str, month: Month) -> str | None:
        return f"<style></style>{month}" if transmitter == "home" else None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[aiohttp.ClientSession]:
        task = asyncio.create_task(self.server.run())
        try:
            async with asyncio.timeout(20):
                await self.server.started.wait()
                host, port = self.server.address
                async with aiohttp.ClientSession(f"http://{host}:{port}") as client:
                    yield client
        finally:
            task.cancel()
            await asyncio.wait([task])


async def _status(client: aiohttp.ClientSession, path: str, **more: object) -> int:
    async with client.get(path, **more) as answer:  # type: ignore[arg-type]
        return answer.status


def test_the_password_is_demanded_for_every_path() -> None:
    async def run() -> None:
        async with Page("reader:opensesame").running() as client:
            for path in PATHS:
                async with client.get(path) as answer:
                    assert answer.status == 401
                    assert answer.headers["WWW-Authenticate"].startswith("Basic")
                assert await _status(client, path, headers=RIGHT) == 200

    asyncio.run(run())


def test_wrong_passwords_lock_their_address_even_for_the_right_one() -> None:
    async def run() -> None:
        async with Page("reader:opensesame").running() as client:
            for _ in range(5):
                assert await _status(client, "/", headers=WRONG) == 401
            async with client.get("/", headers=RIGHT) as answer:
                assert answer.status == 429
                assert answer.headers["Retry-After"] == "60"

    asyncio.run(run())


def test_asking_without_a_password_does_not_lock() -> None:
    async def run() -> None:
        async with Page("reader:opensesame").running() as client:
            for _ in range(20):
                assert await _status(client, "/") == 401
            assert await _status(client, "/", headers=RIGHT) == 200

    asyncio.run(run())


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Basic /w==", "Bearer opensesame", ""])
def test_a_header_that_cannot_be_read_is_a_wrong_password(header: str) -> None:
    async def run() -> None:
        async with Page("reader:opensesame").running() as client:
            assert await _status(client, "/", headers={"Authorization": header}) == 401

    asyncio.run(run())


def test_the_ingress_of_home_assistant_needs_no_password() -> None:
    class Transport:
        def get_extra_info(self, name: str, default: object = None) -> object:
            return ("172.30.32.2", 4711) if name == "peername" else default

    transport = Transport()
    request = make_mocked_request("GET", "/", transport=transport)
    Access(Secret("reader:opensesame")).check(request)


def test_a_forwarded_address_is_not_the_ingress() -> None:
    async def run() -> None:
        async with Page("reader:opensesame").running() as client:
            headers = {"X-Forwarded-For": "172.30.32.2", "X-Real-IP": "172.30.32.2", "Forwarded": "for=172.30.32.2"}
            assert await _status(client, "/", headers=headers) == 401

    asyncio.run(run())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8099", 200), ("localhost:8099", 200), ("[::1]:8099", 200), ("[::1]", 200), ("127.0.0.1", 200),
        ("evil.example", 403), ("evil.example:8099", 403), ("127.0.0.1.evil.example", 403),
    ],
)  # fmt: skip
def test_without_a_password_the_name_of_another_site_is_refused(host: str, status: int) -> None:
    async def run() -> None:
        async with Page().running() as client:
            assert await _status(client, "/", headers={"Host": host}) == status

    asyncio.run(run())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_commanded(method: str) -> None:
    async def run() -> None:
        async with Page().running() as client, client.request(method, "/") as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "GET,HEAD"

    asyncio.run(run())


def test_every_answer_has_the_headers_of_a_page_that_nobody_can_embed_or_extend() -> None:
    async def run() -> None:
        async with Page().running() as client:
            for path in (*PATHS, "/nothing", "/report/nobody/2026-11", "/report/home/2026-13"):
                async with client.get(path) as answer:
                    policy = answer.headers["Content-Security-Policy"]
                    assert policy.startswith("default-src 'none'; ")
                    assert "frame-ancestors 'self'" in policy
                    assert ("unsafe-inline" in policy) is (answer.status == 200 and path.startswith("/report/"))
                    assert answer.headers["X-Content-Type-Options"] == "nosniff"
                    assert answer.headers["Referrer-Policy"] == "no-referrer"
                    assert answer.headers["Cache-Control"] == "no-store"
                    assert answer.headers["Server"] == "sosbridge"

    asyncio.run(run())


def test_health_is_200_while_the_process_works_and_strict_503_while_anything_needs_a_person() -> None:
    async def run() -> None:
        page = Page()
        async with page.running() as client:
            assert await _status(client, "/healthz") == 200
            assert await _status(client, "/healthz?strict") == 200
            page.problems.set(Kind.LINK_DOWN, "no answer for 180 s", About("home"))
            assert await _status(client, "/healthz") == 200
            async with client.get("/healthz?strict") as answer:
                assert answer.status == 503
                assert await answer.text() == "link_down: home: no answer for 180 s\n"
            page.hangs.append("transmitter home")
            assert await _status(client, "/healthz") == 503

    asyncio.run(run())


def test_the_dashboard_is_text_to_copy() -> None:
    async def run() -> None:
        async with (page := Page()).running() as client:
            async with client.get("/dashboard.yaml") as answer:
                assert (answer.content_type, await answer.text()) == ("text/plain", "title: Alarm\n")
            page.dashboard = ""
            assert await _status(client, "/dashboard.yaml") == 404

    asyncio.run(run())


def test_metrics_can_be_switched_off() -> None:
    async def run() -> None:
        async with Page(metrics=False).running() as client:
            assert await _status(client, "/metrics") == 404

    asyncio.run(run())


def test_a_report_is_of_a_transmitter_and_a_month() -> None:
    async def run() -> None:
        async with Page().running() as client:
            async with client.get("/report/home/2026-11") as answer:
                assert await answer.text() == "<style></style>2026-11"
            assert await _status(client, "/report/nobody/2026-11") == 404
            assert await _status(client, "/report/home/2026-13") == 404

    asyncio.run(run())


def test_a_port_that_is_taken_is_said_and_tried_again() -> None:
    async def run() -> None:
        page = Page()
        host, port = page.server.address
        with socket.create_server((host, port)):
            task = asyncio.create_task(page.server.run())
            async with asyncio.timeout(10):
                while not page.listening:  # noqa: ASYNC110 - a plain list
                    await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            await page.server.started.wait()
        task.cancel()
        await asyncio.wait([task])
        assert page.listening[0] == f"cannot serve the status page on {host}:{port}: Address already in use"
        assert page.listening[-1] is None

    asyncio.run(run())


def test_the_state_can_be_asked_for_where_a_proxy_holds_events_back() -> None:
    async def run() -> None:
        page = Page()
        async with page.running() as client:
            page.board.published("sosbridge/transmitter/home/link", "ON", event=False)
            async with client.get("/state") as answer:
                found = await answer.json()
            assert (found["whole"], found["transmitters"]["home"]["link"]) == (True, True)
            async with client.get(f"/state?since={found['sequence']}") as answer:
                later = await answer.json()
            assert (later["whole"], later["transmitters"]) == (False, {})
            async with client.get(f"/state?since={found['sequence'] + 1}") as answer:
                assert (await answer.json())["whole"] is True
            assert await _status(client, "/state?since=x") == 400

    asyncio.run(run())


def test_pages_are_bounded_and_end_with_the_server() -> None:
    async def run() -> None:
        page = Page()
        async with page.running() as client:
            opened = [await client.get("/events") for _ in range(16)]
            assert {answer.status for answer in opened} == {200}
            assert await _status(client, "/events") == 503
            for answer in opened[1:]:
                answer.close()
            began = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - began < 5
        opened[0].close()  # else who collects it says so, in a test of something else

    asyncio.run(run())
