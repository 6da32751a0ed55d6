"""The client and the transport for callers without an event loop: each call blocks until it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from bridge.common.models import Alarm
from bridge.sos_access.client import BaseClient, Exchange, alarm_method
from bridge.sos_access.documents import ENCODING
from bridge.sos_access.messages import AlarmResponse, NewAuthResponse, PingResponse, Response, SOSAccessRequest
from bridge.sos_access.tls import TlsPolicy
from bridge.sos_access.transport import AsyncTCPTransport

R = TypeVar("R", bound=Response)
S = TypeVar("S", bound=Response)
T = TypeVar("T")


def _blocking(run: Callable[[Coroutine[Any, Any, T]], T], work: Coroutine[Any, Any, T]) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run(work)
    work.close()
    raise RuntimeError("an event loop is running; use AsyncSOSAccessClient or AsyncTCPTransport with await")


class SOSAccessClient(BaseClient):
    """The blocking client, with the parameters, results and errors of `AsyncSOSAccessClient`.

    The methods raise `RuntimeError` if an event loop is running.
    """

    def exchange(self, request: SOSAccessRequest[R]) -> Exchange[R]:
        """Run one attempt round and return the exchange that delivered it; raises as `send_alarm`."""

        async def transmit(data: bytes, response_schema: type[S], secondary: bool) -> S:  # noqa: FBT001
            return self.transmit(data.decode(ENCODING), response_schema, secondary)

        try:
            self._deliver(request, transmit).send(None)  # never waits, as `transmit` blocks
        except StopIteration as end:
            delivered: Exchange[R] = end.value
            return delivered
        raise AssertionError("blocking work waited")

    def transmit(
        self,
        data: bytes | str,
        response_schema: type[R],
        secondary: bool = False,  # noqa: FBT001, FBT002 - a parameter of sos-access
    ) -> R:
        """Make one exchange with one receiver and return its response, whatever its status.

        `response_schema` is the response's class. Raises `TransportError`, and `ConfigError` without a receiver.
        """
        return _blocking(asyncio.run, self._transmit(data, response_schema, secondary))

    @alarm_method(Alarm)
    def send_alarm(self, alarm: Alarm) -> AlarmResponse:
        """Send an alarm and return the response that took it (0 or 10).

        Raises `FieldError` before anything is sent; `Rejected`, `Unauthorized` or, once the round has failed,
        `ReceiversUnavailable`.
        """
        return self.exchange(self.alarm_request(alarm, "AL")).response

    @alarm_method(Alarm)
    def restore_alarm(self, alarm: Alarm) -> AlarmResponse:
        """Restore an alarm; returns and raises as `send_alarm`."""
        return self.exchange(self.alarm_request(alarm, "RE")).response

    def ping(self, reference: str | None = None) -> PingResponse:
        """Send a heartbeat; raises as `send_alarm`."""
        return self.exchange(self.ping_request(reference)).response

    def request_new_auth(self, reference: str | None = None) -> NewAuthResponse:
        """Ask for a new password. The caller stores it and sets `authentication`. Raises as `send_alarm`."""
        return self.exchange(self.new_auth_request(reference)).response


class TCPTransport:
    """`AsyncTCPTransport` as a context manager without `async`; sends and returns text."""

    def __init__(
        self,
        address: tuple[str, int],
        secure: bool = False,  # noqa: FBT001, FBT002 - a parameter of sos-access
        timeout: float = 5.0,
        *,
        response_timeout: float = 10.0,
        tls_verify: str | TlsPolicy = "system",
    ) -> None:
        self._runner = asyncio.Runner()
        self._transport = AsyncTCPTransport(
            address, secure, timeout, response_timeout=response_timeout, tls_verify=tls_verify
        )

    def __enter__(self) -> Self:
        try:
            _blocking(self._runner.run, self._transport.__aenter__())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._runner:
            _blocking(self._runner.run, self._transport.__aexit__(kind, error, traceback))

    def send(self, data: str | bytes) -> None:
        _blocking(self._runner.run, self._transport.send(data.encode(ENCODING) if isinstance(data, str) else data))

    def receive(self) -> str:
        return _blocking(self._runner.run, self._transport.receive()).decode(ENCODING)
