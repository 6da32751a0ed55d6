"""The client for callers without an event loop: each call blocks until it is done."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from bridge.common.models import Secret
from bridge.sos_access import client

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Return a function with the same parameters that runs the coroutine to its end."""

    @functools.wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(method(*args, **kwargs))
        raise RuntimeError("an event loop is running; use bridge.sos_access.client.SOSAccessClient with await")

    return run


class BlockingClient:
    """`client.SOSAccessClient` with blocking methods; parameters, results and errors are the same.

    The methods raise `RuntimeError` if an event loop is running.
    """

    MAX_RETRY = client.SOSAccessClient.MAX_RETRY

    def __init__(
        self,
        transmitter_code: str,
        transmitter_type: str,
        authentication: str | Secret,
        receiver_id: str,
        receiver_address: tuple[str, int],
        secondary_receiver_address: tuple[str, int] | None = None,
        use_single_receiver: bool = False,  # noqa: FBT001, FBT002 - a parameter of sos-access
        use_tls: bool = False,  # noqa: FBT001, FBT002 - a parameter of sos-access
        *,
        tls_verify: str = "system",
        connect_timeout: float = 5.0,
        response_timeout: float = 10.0,
    ) -> None:
        wrapped = client.SOSAccessClient(
            transmitter_code,
            transmitter_type,
            authentication,
            receiver_id,
            receiver_address,
            secondary_receiver_address,
            use_single_receiver,
            use_tls,
            tls_verify=tls_verify,
            connect_timeout=connect_timeout,
            response_timeout=response_timeout,
        )
        wrapped.MAX_RETRY = self.MAX_RETRY
        self._client = wrapped
        self.send_alarm = _blocking(wrapped.send_alarm)
        self.restore_alarm = _blocking(wrapped.restore_alarm)
        self.ping = _blocking(wrapped.ping)
        self.request_new_auth = _blocking(wrapped.request_new_auth)
        self.transmit = _blocking(wrapped.transmit)
        self.exchange = _blocking(wrapped.exchange)
        self.alarm_request = wrapped.alarm_request
        self.ping_request = wrapped.ping_request
        self.new_auth_request = wrapped.new_auth_request

    @property
    def authentication(self) -> Secret:
        return self._client.authentication

    @authentication.setter
    def authentication(self, value: str | Secret) -> None:
        self._client.authentication = value

    def __repr__(self) -> str:
        return f"blocking {self._client!r}"


SOSAccessClient = BlockingClient
"""The name that the `sos-access` library uses."""
