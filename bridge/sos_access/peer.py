"""The other end of a connection: where it is, what it is called, and what went wrong with it."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field

from bridge.common.text import clean
from bridge.sos_access.status import Failure, TransportError
from bridge.sos_access.tls import TlsPolicy


@dataclass(frozen=True, slots=True)
class Peer:
    """Where and how to connect; times in seconds.

    `tls_name` is the name in the certificate, where it is not the host; `interface` and `source` choose the network
    path (SO_BINDTODEVICE; the local address).
    """

    address: tuple[str, int]
    tls: TlsPolicy | None = None
    tls_name: str | None = None
    interface: str | None = None
    source: str | None = None
    connect_timeout: float = 5.0
    response_timeout: float = 10.0
    label: str = field(default="", compare=False)
    """Of debug lines: the transmitter, its receiver and path."""


def peer_name(address: tuple[str, int]) -> str:
    """Return `host:port`, an IPv6 literal in brackets."""
    host, port = address
    return f"[{clean(host)}]:{port}" if ":" in host else f"{clean(host)}:{port}"


def _described(error: OSError | UnicodeError, address: tuple[str, int]) -> tuple[str, Failure]:
    """Return one line with the peer and the failure, and its kind."""
    peer = peer_name(address)
    match error:
        case ConnectionRefusedError():
            return f"connection refused by {peer}", Failure.REFUSED
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            return f"connection reset by {peer}", Failure.RESET
        case ssl.SSLCertVerificationError():
            return f"certificate of {peer} not trusted: {clean(error.verify_message)}", Failure.CERTIFICATE
        case ssl.SSLError():
            reason = clean(getattr(error, "reason", None) or error.strerror or error)
            return f"TLS with {peer} failed: {_TLS_FAULTS.get(reason, reason)}", Failure.TLS
        case socket.gaierror() | UnicodeError():
            return f"no address found for {clean(address[0])}", Failure.NO_ADDRESS
        case _:
            return f"no connection with {peer}: {clean(error.strerror or error)}", Failure.UNREACHABLE


@contextlib.contextmanager
def translated(peer: Peer, timed_out: str, failure: Failure = Failure.OTHER) -> Iterator[None]:
    """Raise TransportError for an error of the system; the other arguments describe a timeout."""
    try:
        yield
    except TimeoutError:
        raise TransportError(timed_out, failure) from None
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be one in DNS
        way = peer.interface or peer.source
        if way and isinstance(error, OSError) and error.errno in _PATH_FAULTS:
            raise TransportError(f"no path over {way}: {error.strerror}") from error
        raise TransportError(*_described(error, peer.address)) from error


_OUTDATED = 'it supports only outdated TLS, which tls_verify = "none" allows'
_TLS_FAULTS = {
    "WRONG_VERSION_NUMBER": "no TLS on that port?",
    "PACKET_LENGTH_TOO_LONG": "no TLS on that port?",
    "RECORD_LAYER_FAILURE": "no TLS on that port?",
    "UNSUPPORTED_PROTOCOL": _OUTDATED,
    "TLSV1_ALERT_PROTOCOL_VERSION": _OUTDATED,
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": _OUTDATED,
    "DH_KEY_TOO_SMALL": _OUTDATED,
}
"""What OpenSSL's reasons mean here; the others speak for themselves."""
_PATH_FAULTS = (1, 19, 99, 100, 101)
"""EPERM, ENODEV, EADDRNOTAVAIL, ENETDOWN, ENETUNREACH."""
