"""Rotations against a receiver by the rule: whatever is lost, refused or crashes, a way in remains."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.line import LOST, Answer, FakeDialer

from bridge.common.clock import Clock
from bridge.common.errors import StoreError
from bridge.common.models import Command, Request, Secret
from bridge.sos_access.client import AsyncSOSAccessClient
from bridge.sos_access.messages import (
    RESPONSE_TO,
    AnyRequest,
    NewAuthRequest,
    NewAuthResponse,
    PingResponse,
    Response,
)
from bridge.sos_access.peer import Peer
from bridge.sos_access.status import TransportError, Unauthorized
from bridge.store.passwords import PasswordFile, Passwords
from bridge.transmitters.line import Line
from bridge.transmitters.network import Network
from bridge.transmitters.routes import Route

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Rule(FakeDialer):
    """A new password counts from its first use, the old one until then (sos_access/PROTOCOL.md, Rotation)."""

    def __init__(self) -> None:
        super().__init__()
        self.current = "0"
        self.pending: str | None = None
        self.given_out = 0
        self.lose: str | None = None
        self.tried: list[str] = []

    def behaviour(self, receiver: str, request: AnyRequest | None) -> Answer:
        if request is None:
            return 0
        lost, self.lose = self.lose, None
        if lost == "request":
            return LOST
        word = request.authentication.reveal().rstrip("x")
        self.tried.append(word)
        if word == self.pending:
            self.current, self.pending = word, None
        response: Response = PingResponse(0)
        if word != self.current:
            response = RESPONSE_TO[type(request)](4)
        elif isinstance(request, NewAuthRequest):
            self.given_out += 1
            self.pending = str(self.given_out)
            response = NewAuthResponse(0, new_authentication=secret(self.pending))
        return LOST if lost == "response" else response


def secret(word: str) -> Secret:
    return Secret(word.ljust(15, "x"))


class Site:
    """A bridge that can crash, with its file and its receiver."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "passwords" / "home.json"
        self.configured = secret("0")
        self.receiver = Rule()
        self.start()

    def start(self) -> None:
        self.passwords = Passwords(PasswordFile(self.path), self.configured)

    def ask(self, request: Request) -> Response:
        """Exchange as the transmitter does; where a crash follows, what is not on disk is gone."""
        client = AsyncSOSAccessClient(
            "IK1", "SV301", self.configured, "OPER", ("localhost", 1), use_single_receiver=True
        )
        peers = {Route("primary"): Peer(("primary", 1))}
        line = Line("home", client, self.passwords, peers, Network(self.receiver), Clock())
        self.receiver.tried.clear()
        return asyncio.run(
            line.exchange(line.message(Command(transmitter="home", request=request, accepted_at=NOW)))
        ).response

    def send(self) -> None:
        self.ask(Request.PING)

    def rotate(self, *, crash: bool = False) -> None:
        if self.passwords.rotation_refusal is not None:
            return
        response = self.ask(Request.AUTH)
        assert isinstance(response, NewAuthResponse)
        assert response.new_authentication
        if not crash:
            self.passwords.add(Secret(response.new_authentication))

    def lose(self, what: str, then: Callable[[], None]) -> None:
        self.receiver.lose = what
        with pytest.raises(TransportError):
            then()

    def full_disk(self, then: Callable[[], None]) -> None:
        """Do something that must write, or not, while nothing can be written."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("bridge.store.passwords.write_private", _full)
            try:
                then()
            except StoreError:
                assert then == self.rotate

    def forget(self) -> None:
        """The receiver loses what it gave out."""
        self.receiver.pending = None

    def operator(self) -> None:
        """Let the operator set a password by hand, which goes into the configuration."""
        self.receiver.given_out += 1
        self.receiver.current, self.receiver.pending = str(self.receiver.given_out), None
        self.configured = secret(self.receiver.current)
        self.start()

    def mistype(self) -> None:
        """Write a wrong password into the configuration, notice it, and write the former one again."""
        former, self.configured = self.configured, secret("wrong")
        self.start()
        with suppress(Unauthorized):  # until a first rotation there is no other
            self.send()
        self.configured = former
        self.start()


def _full(path: Path, text: str) -> None:
    raise OSError(28, "No space left on device")


STEPS: dict[str, Callable[[Site], None]] = {
    "send": Site.send,
    "rotate": Site.rotate,
    "restart": Site.start,
    "rotate, crash before it is stored": lambda site: site.rotate(crash=True),
    "rotate, request lost": lambda site: site.lose("request", site.rotate),
    "rotate, response lost": lambda site: site.lose("response", site.rotate),
    "send, request lost": lambda site: site.lose("request", site.send),
    "send, response lost": lambda site: site.lose("response", site.send),
    "send, disk full": lambda site: site.full_disk(site.send),
    "rotate, disk full": lambda site: site.full_disk(site.rotate),
    "receiver forgets": Site.forget,
    "operator": Site.operator,
    "mistype": Site.mistype,
}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=14))
@example(["rotate", "rotate, response lost", "restart", "send, disk full", "rotate", "receiver forgets", "send"])
@example(["rotate", "receiver forgets", "send, disk full", "rotate", "restart", "rotate, crash before it is stored"])
@example(["rotate", "mistype", "rotate", "receiver forgets"])
def test_nothing_locks_the_transmitter_out(steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        for step in steps:
            STEPS[step](site)
            if step.startswith("rotate, crash"):
                site.start()
        site.send()
        site.send()
        assert len(site.receiver.tried) == 1  # once it is found, the right one goes first
        assert [path.name for path in site.path.parent.glob("*")] in ([], ["home.json"])
        assert not site.path.exists() or site.path.stat().st_mode & 0o777 == 0o600


def test_a_wrong_password_is_asked_twice_at_most_and_said(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.rotate()
    site.receiver.current, site.receiver.pending = "other", None
    with pytest.raises(Unauthorized) as caught:
        site.send()
    assert site.receiver.tried == ["1", "0"]
    assert "xxx" not in f"{caught.value} {caught.value!r} {site.passwords!r}"


class CrashError(BaseException):
    """The power fails."""


@pytest.mark.parametrize(
    ("calls", "name"),
    [
        (1, "os.open"),
        (1, "os.fdopen"),
        (1, "os.fsync"),
        (1, "pathlib.Path.rename"),
        (2, "os.open"),  # of the directory, after the rename
        (2, "os.fsync"),
    ],
)
def test_a_crash_within_a_write_leaves_the_old_or_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, calls: int
) -> None:
    path = tmp_path / "home.json"
    Passwords(PasswordFile(path), secret("0")).add(secret("1"))
    left = calls
    module, _, function = name.rpartition(".")
    real = getattr(os, function) if module == "os" else Path.rename
    opened: list[int] = []

    def fails(*given: Any, **more: Any) -> Any:  # noqa: ANN401 - stands for three functions
        nonlocal left
        left -= 1
        if not left:
            for handle in opened:
                with suppress(OSError):
                    os.close(handle)
            raise CrashError
        found = real(*given, **more)
        if name == "os.open":
            opened.append(found)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(name, fails)
        with pytest.raises(CrashError):
            Passwords(PasswordFile(path), secret("0")).add(secret("2"))
    found = Passwords(PasswordFile(path), secret("0"))
    assert found.candidates()[:2] in ((secret("1"), secret("0")), (secret("2"), secret("1")))
    found.add(secret("3"))
    assert [each.name for each in tmp_path.iterdir()] == ["home.json"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert Passwords(PasswordFile(path), secret("0")).candidates()[0] == secret("3")


def test_a_new_password_is_on_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        steps.append("directory" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")  # noqa: PTH112
        fsync(handle)

    def renamed(self: Path, target: Path) -> Path:
        assert self.stat().st_mode & 0o777 == 0o600
        steps.append("rename")
        return rename(self, target)

    monkeypatch.setattr("os.fsync", synced)
    monkeypatch.setattr("pathlib.Path.rename", renamed)
    Passwords(PasswordFile(tmp_path / "home.json"), secret("0")).add(secret("1"))
    assert steps == ["file", "rename", "directory"]
