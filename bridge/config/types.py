"""Types of settings: names, addresses, durations and passwords, as people write them."""

from __future__ import annotations

import re
from datetime import time
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, GetPydanticSchema
from pydantic_core import core_schema

from bridge.common.models import Secret
from bridge.transmitters.topics import NAME

LAST_PORT = 65535
LONGEST_S = 36500 * 86400.0
"""A hundred years, so that no sum of a date and a duration overflows."""

_TIME = re.compile("([01]?[0-9]|2[0-3]):[0-5][0-9]")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhd])")
_LONGEST_INTERFACE = 15
"""Characters (IFNAMSIZ of Linux, less its NUL)."""
_HOST_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
_HOST_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::([0-9]+))?")


def seconds(written: str) -> float:
    """Return the seconds of a duration such as 90s, 5m, 24h or 7d. Raises ValueError."""
    match = _DURATION.fullmatch(written.strip().lower())
    if match is None:
        raise ValueError(f"{written!r} is not a duration; use for example 90s, 5m, 24h or 7d")
    return _bounded(float(match[1]) * _UNITS[match[2]])


def host_port(written: str, default: int | None = None) -> tuple[str, int]:
    """Return host and port of `host:port` or `[IPv6]:port`. Raises ValueError.

    With a `default` the port may be left out, and an IPv6 address without a port needs no brackets.
    """
    match = _HOST_PORT.fullmatch(written)
    if match is None and default is not None and written.count(":") > 1 and "[" not in written:
        return written, default
    port = default if match is None or match[3] is None else int(match[3])
    if match is None or port is None:
        raise ValueError(
            f"{written!r} is not an address; use host:port, such as alarm.example.com:19100 or [2001:db8::1]:19100"
        )
    if not 0 < port <= LAST_PORT:
        raise ValueError(f"{written!r}: port {port} is out of range (1 to {LAST_PORT})")
    return match[1] or match[2], port


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a name for a topic; use small letters, digits, - and _")
    return value


def _base_topic(value: str) -> str:
    if not value or value.startswith("$") or value.strip("/") != value or re.search(r"[+#\x00-\x1f]|//", value):
        raise ValueError(f"{value!r} is not a base topic; use one or more words with / between, such as sosbridge")
    return value


def _address(value: str) -> str:
    host_port(value)
    return value


def _host(value: str) -> str:
    host_port(value, default=LAST_PORT)
    return value


def _ipv4_address(value: str) -> str:
    host, _ = host_port(value)
    try:
        IPv4Address(host)
    except ValueError:
        raise ValueError(f"{value!r}: panels need an IPv4 address; use for example 192.168.1.10:5678") from None
    return value


def _network(value: str) -> str:
    ip_network(value, strict=False)
    return value


def _interface(value: str) -> str:
    # What Linux allows as a name; an unplugged modem has none now, so that it exists is not required.
    if not 0 < len(value) <= _LONGEST_INTERFACE or value in (".", "..") or re.search(r"[\s/:\x00-\x1f]", value):
        raise ValueError(f"{value!r} is not the name of a network interface; use for example eth0 or wwan0")
    return value


def _ip_address(value: str) -> str:
    try:
        ip_address(value)
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address; use for example 192.168.8.100") from None
    return value


def _tls_name(value: str) -> str:
    if not _HOST_NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a host name; use the name in the certificate, such as alarm.example.com")
    return value


def _duration(value: object) -> object:
    return seconds(value) if isinstance(value, str) else value


def _bounded(value: float) -> float:
    if not value <= LONGEST_S:  # also refuses NaN
        raise ValueError(f"is longer than {LONGEST_S / 86400:.0f}d")
    return value


Name = Annotated[str, AfterValidator(_name)]
BaseTopic = Annotated[str, AfterValidator(_base_topic)]
Address = Annotated[str, AfterValidator(_address)]
"""`host:port`; see `host_port`."""
Host = Annotated[str, AfterValidator(_host)]
"""`host` or `host:port`."""
PanelAddress = Annotated[str, AfterValidator(_ipv4_address)]
"""`IPv4:port`."""
Interface = Annotated[str, AfterValidator(_interface)]
"""The name of a network interface."""
IpAddress = Annotated[str, AfterValidator(_ip_address)]
TlsName = Annotated[str, AfterValidator(_tls_name)]
Network = Annotated[str, AfterValidator(_network)]
Duration = Annotated[float, BeforeValidator(_duration, json_schema_input_type=str), AfterValidator(_bounded)]
"""Seconds; written 90s, 5m, 24h, 7d."""
Password = Annotated[
    Secret,
    GetPydanticSchema(
        lambda _source, handler: core_schema.no_info_after_validator_function(
            Secret, handler(str), serialization=core_schema.to_string_ser_schema(when_used="json")
        )
    ),
]
"""A text that is a `Secret` from here on."""


def _time_of_day(written: object) -> object:
    """Return 03:20 of a time as TOML or people write it. Raises ValueError."""
    text = written.isoformat("minutes") if isinstance(written, time) else written
    if isinstance(text, str) and _TIME.fullmatch(text):
        return text.zfill(5)
    raise ValueError(f"{str(written)!r} is not a time of day; use for example 03:20")


TimeOfDay = Annotated[str, BeforeValidator(_time_of_day)]
"""Local time, hours and minutes."""
