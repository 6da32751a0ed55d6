"""Values of settings as people write them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bridge.config.settings import PanelSettings
from bridge.config.types import host_port


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


@pytest.mark.parametrize("written", ["", "host", ":1", "host:", "host:x", "2001:db8::1", "[::1", "host:\u0661"])
def test_what_is_not_an_address_is_refused_with_an_example(written: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address; use host:port, such as alarm.example.com:19100"):
        host_port(written)


@pytest.mark.parametrize("written", ["host:0", "host:65536", "[::1]:70000"])
def test_a_port_out_of_range_is_named(written: str) -> None:
    with pytest.raises(ValueError, match=rf"port {written.rpartition(':')[2]} is out of range \(1 to 65535\)"):
        host_port(written, 1)


def test_the_host_of_a_panel_is_checked_before_the_start() -> None:
    assert PanelSettings(guid="GB1", control="local", host="192.168.1.50").host == "192.168.1.50"
    with pytest.raises(ValidationError, match="is not an address"):
        PanelSettings(guid="GB1", control="local", host="192.168.1.50:x")
