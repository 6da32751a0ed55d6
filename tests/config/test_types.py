"""Values of settings as people write them."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from bridge.config.panels import PanelSettings
from bridge.config.types import duration, host_port, seconds


@pytest.mark.parametrize(
    ("written", "default", "found"),
    [
        ("alarm.example.com:19100", None, ("alarm.example.com", 19100)),
        ("[2001:db8::1]:19100", None, ("2001:db8::1", 19100)),
        ("[2001:db8::1]", 5, ("2001:db8::1", 5)),
        ("2001:db8::1", 5, ("2001:db8::1", 5)),
        ("192.168.1.50", 12901, ("192.168.1.50", 12901)),
        ("192.168.1.50:1", 12901, ("192.168.1.50", 1)),
    ],
)
def test_an_address_with_or_without_a_port(written: str, default: int | None, found: tuple[str, int]) -> None:
    assert host_port(written, default) == found


@pytest.mark.parametrize(
    ("written", "likely"),
    [
        *((written, "alarm.example.com:19100") for written in ("", "host", ":1", "host:", "host:x", "host:\u0661")),
        *((written, "[2001:db8::1]:19100") for written in ("2001:db8::1", "[::1")),
        ("5678", "alarm.example.com:5678"),
    ],
)
def test_what_is_not_an_address_is_refused_with_an_example(written: str, likely: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"is not an address; use host:port, such as {likely}")):
        host_port(written)


@pytest.mark.parametrize(
    ("written", "value"), [("90s", 90), ("5m", 300), ("36h", 129600), ("1.5s", 1.5), ("0s", 0), ("7d", 604800)]
)
def test_a_duration_is_written_as_it_is_read(written: str, value: float) -> None:
    assert seconds(written) == value
    assert seconds(duration(value)) == value


@pytest.mark.parametrize("written", ["host:0", "host:65536", "[::1]:70000"])
def test_a_port_out_of_range_is_named(written: str) -> None:
    with pytest.raises(ValueError, match=rf"port {written.rpartition(':')[2]} is out of range \(1 to 65535\)"):
        host_port(written, 1)


def test_the_host_of_a_panel_is_checked_before_the_start() -> None:
    assert PanelSettings(guid="GB1", control="local", host="192.168.1.50").host == "192.168.1.50"
    with pytest.raises(ValidationError, match="is not an address"):
        PanelSettings(guid="GB1", control="local", host="192.168.1.50:x")
