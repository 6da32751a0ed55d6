"""The client for callers without an event loop: the same names, each call runs to its end (seed, API Reference)."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from bridge.sos_access import client as asynchronous

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bridge.common.models import Secret

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Return `method` as one that runs its coroutine to the end, with the same parameters."""

    @functools.wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(method(*args, **kwargs))
        raise RuntimeError("an event loop runs here: use bridge.sos_access.client.SOSAccessClient and await")

    return run


class SOSAccessClient:
    """`bridge.sos_access.client.SOSAccessClient`, blocking; parameters, results and errors are those of that class.

    Its methods raise `RuntimeError` when called where an event loop runs.
    """

    MAX_RETRY = asynchronous.SOSAccessClient.MAX_RETRY

    def __init__(
        self,
        transmitter_code: str,
        transmitter_type: str,
        authentication: str | Secret,
        receiver_id: str,
        receiver_address: tuple[str, int],
        secondary_receiver_address: tuple[str, int] | None = None,
        use_single_receiver: bool = False,  # noqa: FBT001, FBT002 - the seed's parameter
        use_tls: bool = False,  # noqa: FBT001, FBT002 - the seed's parameter
        *,
        tls_verify: str = "none",
        connect_timeout: float = 5.0,
        response_timeout: float = 10.0,
    ) -> None:
        client = asynchronous.SOSAccessClient(
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
        client.MAX_RETRY = self.MAX_RETRY
        self._client = client
        self.send_alarm = _blocking(client.send_alarm)
        self.restore_alarm = _blocking(client.restore_alarm)
        self.ping = _blocking(client.ping)
        self.request_new_auth = _blocking(client.request_new_auth)
        self.transmit = _blocking(client.transmit)
        self.exchange = _blocking(client.exchange)
        self.alarm_request = client.alarm_request
        self.ping_request = client.ping_request
        self.new_auth_request = client.new_auth_request

    @property
    def authentication(self) -> Secret:
        """The password that goes with the next message."""
        return self._client.authentication

    @authentication.setter
    def authentication(self, value: str | Secret) -> None:
        self._client.authentication = value

    def __repr__(self) -> str:
        return f"blocking {self._client!r}"
