"""Types of settings: names, addresses, durations and passwords, as people write them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import time
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, GetPydanticSchema
from pydantic_core import core_schema

from bridge.common.models import Secret
from bridge.transmitters.topics import NAME

LAST_PORT = 65535
LONGEST_NODE = 40
"""Characters of a node's name: PostgreSQL cuts the name of a session, which has it, after 63 bytes."""
LONGEST_S = 36500 * 86400.0
"""A hundred years, so that no sum of a date and a duration overflows."""

_RECEIVER, _SERVER = "alarm.example.com:19100", "0.0.0.0:5678"
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_TIME = re.compile("([01]?[0-9]|2[0-3]):[0-5][0-9]")
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhd])")
_DATABASE = re.compile("postgres(ql)?://")
_HOST_PORT = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::([0-9]+))?")


def seconds(written: str) -> float:
    """Return the seconds of a duration such as 90s, 5m, 24h or 7d. Raises ValueError."""
    match = _DURATION.fullmatch(written.strip().lower())
    if match is None:
        likely = f"{written}s or {written}m" if written.isdecimal() else "90s, 5m, 24h or 7d"
        raise ValueError(f"{written!r} is not a duration; use for example {likely}")
    return _bounded(float(match[1]) * _UNITS[match[2]])


def duration(value: float) -> str:
    """Return `value` in seconds as people write it."""
    unit, size = next(((unit, size) for unit, size in _UNITS.items() if value and value % size == 0), ("s", 1))
    return f"{value / size:.12g}{unit}"


def host_port(written: str, default: int | None = None, example: str = _RECEIVER) -> tuple[str, int]:
    """Return host and port of `host:port` or `[IPv6]:port`. Raises ValueError.

    With a `default` the port may be left out, and an IPv6 address without a port needs no brackets.
    """
    match = _HOST_PORT.fullmatch(written)
    if match is None and default is not None and written.count(":") > 1 and "[" not in written:
        return written, default
    port = default if match is None or match[3] is None else int(match[3])
    if match is None or port is None:
        host, _, number = example.rpartition(":")
        if written.isdecimal():
            number = written
        elif written.count(":") > 1:
            host = "[2001:db8::1]"
        raise ValueError(f"{written!r} is not an address; use host:port, such as {host}:{number}")
    if not 0 < port <= LAST_PORT:
        raise ValueError(f"{written!r}: port {port} is out of range (1 to {LAST_PORT})")
    return match[1] or match[2], port


def is_loopback(written: str) -> bool:
    """Return whether only this machine can connect to `host:port`."""
    host, _ = host_port(written)
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(check: Callable[[str], object], fault: str = "") -> AfterValidator:
    """Return a validator for texts: valid is what `check` returns a value for.

    A `fault` replaces the text of its error.
    """

    def validated(value: str) -> str:
        try:
            found = check(value)
        except ValueError as error:
            raise ValueError(f"{value!r} {fault}" if fault else str(error)) from None
        if found is None:
            raise ValueError(f"{value!r} {fault}")
        return value

    return AfterValidator(validated)


def _matching(pattern: str, fault: str) -> AfterValidator:
    return _checked(re.compile(pattern).fullmatch, fault)


def _duration(value: object) -> object:
    return seconds(value) if isinstance(value, str) else value


def _bounded(value: float) -> float:
    if not value <= LONGEST_S:  # also refuses NaN
        raise ValueError(f"is longer than {LONGEST_S / 86400:.0f}d")
    return value


def _as_text(value: object) -> object:
    return str(value).lower() if isinstance(value, str | int | float) else value


Name = Annotated[str, _matching(NAME.pattern, "is not a name for a topic; use small letters, digits, - and _")]
Username = Annotated[
    str, _matching(r"[^:\x00-\x1f]+", "is not a username; use at least one character, without a colon")
]
BaseTopic = Annotated[
    str,
    _matching(
        r"(?!\$)[^+#/\x00-\x1f]+(/[^+#/\x00-\x1f]+)*",
        "is not a base topic; use one or more words with / between, such as sosbridge",
    ),
]
Guid = Annotated[str, _matching("[A-Za-z0-9_-]{1,15}", "is not a GUID; use up to 15 letters, digits, - and _")]
WebsocketPath = Annotated[str, _matching("/.*", "is not a path; use for example /mqtt")]
Address = Annotated[str, _checked(host_port)]
"""`host:port` of a receiver; see `host_port`."""
ServerAddress = Annotated[str, _checked(lambda value: host_port(value, example=_SERVER))]
"""`host:port` of a server for panels."""
Host = Annotated[str, _checked(lambda value: host_port(value, LAST_PORT))]
"""`host` or `host:port`."""
BrokerHost = Annotated[
    str,
    _matching(
        r"[^\s/:]+|[^\s/:]*(:[^\s/:]*){2,}", "is not a host; use a name or an address, and mqtt.port for the port"
    ),
]
PanelAddress = Annotated[
    str,
    _checked(
        lambda value: IPv4Address(host_port(value)[0]),
        "is not an IPv4 address and a port; use for example 192.168.1.10:5678",
    ),
]
"""`IPv4:port`."""
# What Linux allows as a name; an unplugged modem has none now, so that it exists is not required.
Interface = Annotated[
    str,
    _matching(
        r"(?!\.{1,2}$)[^\s/:\x00-\x1f]{1,15}", "is not the name of a network interface; use for example eth0 or wwan0"
    ),
]
IpAddress = Annotated[str, _checked(ip_address, "is not an IP address; use for example 192.168.8.100")]
TlsName = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*",
        "is not a host name; use the name in the certificate, such as alarm.example.com",
    ),
]
Network = Annotated[
    str, _checked(lambda value: ip_network(value, strict=False), "is not a network; use for example 192.168.1.0/24")
]
AsText = BeforeValidator(_as_text)
"""For a choice: any case, and numbers without quotes."""
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


def _database(value: Secret) -> Secret:
    if not _DATABASE.match(value.reveal()):
        raise ValueError("is not the address of a PostgreSQL; use postgresql://USER@HOST/DATABASE")
    return value


DatabaseUrl = Annotated[Password, AfterValidator(_database)]
"""The address of a PostgreSQL, which may contain a password."""
NodeName = Annotated[
    str,
    _matching(
        rf"[A-Za-z0-9._-]{{1,{LONGEST_NODE}}}",
        f"is not a name of a node; use up to {LONGEST_NODE} letters, digits, ., - and _, such as bridge-a",
    ),
]


def _time_of_day(written: object) -> object:
    """Return 03:20 of a time as TOML or people write it. Raises ValueError."""
    text = written.isoformat("minutes") if isinstance(written, time) else written
    if isinstance(text, str) and _TIME.fullmatch(text):
        return text.zfill(5)
    raise ValueError(f"{str(written)!r} is not a time of day; use for example 03:20")


TimeOfDay = Annotated[str, BeforeValidator(_time_of_day)]
"""Local time, hours and minutes."""


Key = tuple[str | int, ...]
"""Where a setting is: names, also of tables in a list, and the index of a table that has no name."""


class TableError(ValueError):
    """Errors that show only beside other tables, each with the key of its table."""

    def __init__(self, faults: Iterable[tuple[Key, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(words for _, words in self.faults))


class Table(BaseModel):
    """A table of the file; unknown settings are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
