"""SOS Access v4, the protocol of alarm receivers, as a transmitter speaks it.

The names below are those of the library (PROTOCOL.md, As a library). Each is imported when it is first used: the
bridge needs only some.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bridge.common.errors import ConfigError as ConfigError
    from bridge.common.errors import FieldError as FieldError
    from bridge.common.models import Secret as Secret
    from bridge.sos_access.client import AsyncSOSAccessClient as AsyncSOSAccessClient
    from bridge.sos_access.client import Exchange as Exchange
    from bridge.sos_access.messages import AlarmRequest as AlarmRequest
    from bridge.sos_access.messages import AlarmResponse as AlarmResponse
    from bridge.sos_access.messages import NewAuthRequest as NewAuthRequest
    from bridge.sos_access.messages import NewAuthResponse as NewAuthResponse
    from bridge.sos_access.messages import PingRequest as PingRequest
    from bridge.sos_access.messages import PingResponse as PingResponse
    from bridge.sos_access.messages import SOSAccessRequest as SOSAccessRequest
    from bridge.sos_access.status import MalformedMessage as MalformedMessage
    from bridge.sos_access.status import ReceiversUnavailable as ReceiversUnavailable
    from bridge.sos_access.status import Rejected as Rejected
    from bridge.sos_access.status import SOSAccessError as SOSAccessError
    from bridge.sos_access.status import Status as Status
    from bridge.sos_access.status import TransportError as TransportError
    from bridge.sos_access.status import Unauthorized as Unauthorized
    from bridge.sos_access.sync import SOSAccessClient as SOSAccessClient
    from bridge.sos_access.sync import TCPTransport as TCPTransport
    from bridge.sos_access.transport import AsyncTCPTransport as AsyncTCPTransport

_NAMES = {
    "bridge.common.errors": "ConfigError FieldError",
    "bridge.common.models": "Secret",
    "bridge.sos_access.client": "AsyncSOSAccessClient Exchange",
    "bridge.sos_access.messages": (
        "AlarmRequest AlarmResponse NewAuthRequest NewAuthResponse PingRequest PingResponse SOSAccessRequest"
    ),
    "bridge.sos_access.status": (
        "MalformedMessage ReceiversUnavailable Rejected SOSAccessError Status TransportError Unauthorized"
    ),
    "bridge.sos_access.sync": "SOSAccessClient TCPTransport",
    "bridge.sos_access.transport": "AsyncTCPTransport",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [*_MODULES]  # noqa: PLE0604 - they are names


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
