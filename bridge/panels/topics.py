"""Topics and payloads of panels (TOPICS.md, Panel). Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from operator import attrgetter

from bridge.common.models import Reply, Secret
from bridge.common.payloads import CommandError, payload_object, payload_text
from bridge.common.text import present, timestamp
from bridge.g90.state.model import PanelState, Sensor
from bridge.g90.wire.answers import GsmStatus, WifiStatus

_LONGEST_PAYLOAD = 1000
_INFO = (
    "guid", "name", "link.firmware", "hardware.product", "link.address", "link.connected_since", "link.last_seen",
    "link.last_read", "link.upstream_connected", "partition.changed_by", "hardware.ac_power", "hardware.battery_low",
    "hardware.wifi",
)  # fmt: skip
"""What `info` has of a panel's state as it is."""


class Action(StrEnum):
    ARM_AWAY = "ARM_AWAY"
    ARM_HOME = "ARM_HOME"
    DISARM = "DISARM"


class Switch(StrEnum):
    ON = "ON"
    OFF = "OFF"


class SetOutcome(StrEnum):
    DONE = "done"
    FAILED = "failed"
    TIMEOUT = "timeout"
    DISABLED = "disabled"
    WRONG_CODE = "wrong_code"


@dataclass(frozen=True, slots=True)
class PanelCommand:
    """A parsed command (TOPICS.md, Panel commands)."""

    guid: str
    action: Action | Switch
    code: Secret | None = None
    reply: Reply | None = None
    relay: str | None = None
    """The number of the relay to switch."""


@dataclass(frozen=True, slots=True)
class PanelTopics:
    base: str

    def of(self, guid: str, leaf: str) -> str:
        return f"{self.base}/panel/{guid}/{leaf}"

    @property
    def commands(self) -> tuple[str, ...]:
        return tuple(self.of("+", leaf) for leaf in ("set", "relay/+/set", "refresh"))

    @property
    def states(self) -> tuple[str, ...]:
        """The filters of all retained topics; none of them matches a command topic."""
        leaves = ("availability", "state", "info", "set/response")
        parts = ("sensor/+/state", "sensor/+/info", "relay/+/state", "relay/+/info")
        return tuple(self.of("+", leaf) for leaf in (*leaves, *parts))

    def guid(self, topic: str) -> str | None:
        """Return the panel that `topic` belongs to, None if it is not a panel's topic."""
        parts = topic.removeprefix(f"{self.base}/").split("/")
        return parts[1] if parts[0] == "panel" and len(parts) > 1 else None

    def leaf(self, topic: str) -> str:
        """Return what follows the panel in its topic."""
        return topic.removeprefix(f"{self.base}/").partition("/")[2].partition("/")[2]

    def parse(self, topic: str, payload: bytes, reply: Reply | None = None) -> PanelCommand:
        """Parse a command. Raises CommandError with a reason for its sender, never with a code."""
        guid, parts = self.guid(topic) or "", self.leaf(topic).split("/")
        relay = parts[1] if parts[0] == "relay" else None
        actions = list(Switch) if relay else list(Action)
        text = payload_text(payload[:_LONGEST_PAYLOAD])
        code = None
        if text.startswith("{") and not relay:
            text, code = _object(text)
        action = next((action for action in actions if action == text), None)
        if action is None:
            # Without the payload: it may be a code, or contain one.
            raise CommandError(f"the payload is not an action; use one of: {', '.join(actions)}")
        return PanelCommand(guid, action, code, reply, relay)


def _object(text: str) -> tuple[str, Secret | None]:
    found = payload_object(text, ("action", "code"))
    action, code = found.get("action"), found.get("code")
    if not isinstance(action, str):
        raise CommandError(f"action: is required; use one of: {', '.join(Action)}")
    if code is not None and (not isinstance(code, str | int) or isinstance(code, bool)):
        raise CommandError("code: must be a text of digits or letters")
    return action, None if code is None else Secret(str(code))


def set_response(action: str | None, outcome: SetOutcome, error: str | None, completed_at: datetime) -> str:
    """Return how a command ended."""
    return json.dumps(present({"action": action, "outcome": outcome, "error": error, "completed_at": completed_at}))


def state_payloads(state: PanelState, problems: Sequence[str] = ()) -> dict[str, str]:
    """Return what a panel's retained topics hold, by the topic's last part; the unknown is absent."""
    found = {"info": json.dumps(info_payload(state, problems))}
    if state.link.online is not None:
        found["availability"] = "online" if state.link.online else "offline"
    if state.state is not None:
        found["state"] = state.state
    for sensor in state.sensors.values():
        found[f"sensor/{sensor.index}/state"] = "ON" if sensor.on else "OFF"
        found[f"sensor/{sensor.index}/info"] = json.dumps(sensor_payload(sensor))
    for number, relay in state.relays.items():
        if relay.on is not None:
            found[f"relay/{number}/state"] = "ON" if relay.on else "OFF"
        found[f"relay/{number}/info"] = json.dumps({"index": relay.index, "channel": relay.channel, "name": relay.name})
    return found


def info_payload(state: PanelState, problems: Sequence[str] = ()) -> dict[str, object]:
    info = state.hardware.info
    found: dict[str, object] = {path.rpartition(".")[2]: attrgetter(path)(state) for path in _INFO}
    found["problems"] = list(problems) or None
    if info:
        found |= {
            "battery_mv": info.battery_mv,
            "gsm_signal": info.gsm_signal,
            "gsm_status": _status_name(GsmStatus, info.gsm_status),
            "wifi_signal": info.wifi_signal,
            "wifi_status": _status_name(WifiStatus, info.wifi_status),
        }
    return present(found)


def _status_name(names: type[IntEnum], status: int | None) -> str | None:
    return next((known.name.lower() for known in names if known == status), None)


def sensor_payload(sensor: Sensor) -> dict[str, object]:
    return {
        "index": sensor.index,
        "name": sensor.name,
        "type": sensor.type_name,
        "enabled": sensor.enabled,
        "tamper": bool(sensor.tamper),
        "battery_low": bool(sensor.battery_low),
        "open_while_arming": sensor.open_while_arming,
        "last_activity": timestamp(sensor.last_activity) if sensor.last_activity else None,
    }
