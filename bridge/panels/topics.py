"""Topics and payloads of panels (TOPICS.md, Panel). Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bridge.common.models import Reply, Secret
from bridge.common.payloads import CommandError, payload_object
from bridge.common.text import clean, timestamp
from bridge.g90.state.panel import PanelState, Sensor

_LONGEST_PAYLOAD = 1000


class Action(StrEnum):
    """What a panel can be commanded to do."""

    ARM_AWAY = "ARM_AWAY"
    ARM_HOME = "ARM_HOME"
    DISARM = "DISARM"


class SetOutcome(StrEnum):
    """How a command to a panel ended."""

    DONE = "done"
    FAILED = "failed"
    TIMEOUT = "timeout"
    DISABLED = "disabled"
    WRONG_CODE = "wrong_code"


@dataclass(frozen=True, slots=True)
class PanelCommand:
    """A parsed command (TOPICS.md, Panel commands)."""

    guid: str
    action: Action
    code: Secret | None = None
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class PanelTopics:
    """The topics of panels below one base topic."""

    base: str

    def of(self, guid: str, leaf: str) -> str:
        return f"{self.base}/panel/{guid}/{leaf}"

    @property
    def commands(self) -> tuple[str, ...]:
        return (self.of("+", "set"),)

    @property
    def states(self) -> tuple[str, ...]:
        """The filters of all retained topics; none of them matches a command topic."""
        leaves = ("availability", "state", "info", "sensor/+/state", "sensor/+/info", "set/response")
        return tuple(self.of("+", leaf) for leaf in leaves)

    def guid(self, topic: str) -> str | None:
        """Return the panel that `topic` belongs to, None if it is not a panel's topic."""
        parts = topic.removeprefix(f"{self.base}/").split("/")
        return parts[1] if parts[0] == "panel" and len(parts) > 1 else None

    def matches(self, topic: str) -> bool:
        return self.guid(topic) is not None

    def parse(self, topic: str, payload: bytes, reply: Reply | None = None) -> PanelCommand:
        """Parse a command. Raises CommandError with a reason for its sender, never with a code."""
        guid = self.guid(topic) or ""
        try:
            text = payload[:_LONGEST_PAYLOAD].decode().strip()
        except UnicodeDecodeError:
            raise CommandError("the payload is not UTF-8 text") from None
        code = None
        if text.startswith("{"):
            text, code = _object(text)
        if text not in list(Action):
            # Without the payload: it may be a code, or contain one.
            raise CommandError(f"the payload is not an action; use one of: {', '.join(Action)}")
        return PanelCommand(guid, Action(text), code, reply)


def _object(text: str) -> tuple[str, Secret | None]:
    found = payload_object(text)
    unknown = [name for name in found if name not in ("action", "code")]
    if unknown:
        raise CommandError(f"{clean(unknown[0], 40)}: is no field of this command; there are: action, code")
    action, code = found.get("action"), found.get("code")
    if not isinstance(action, str):
        raise CommandError(f"action: is required; use one of: {', '.join(Action)}")
    if code is not None and (not isinstance(code, str | int) or isinstance(code, bool)):
        raise CommandError("code: must be a text of digits or letters")
    return action, None if code is None else Secret(str(code))


def set_response(action: str | None, outcome: SetOutcome, error: str | None, completed_at: datetime) -> str:
    """Return how a command ended."""
    found = {"action": action, "outcome": outcome, "error": error, "completed_at": timestamp(completed_at)}
    return json.dumps({name: value for name, value in found.items() if value is not None})


def state_payloads(state: PanelState) -> dict[str, str]:
    """Return what the retained topics of a panel hold, by the topic's last part; what is not known yet is absent."""
    found = {"info": json.dumps(info_payload(state))}
    if state.online is not None:
        found["availability"] = "online" if state.online else "offline"
    if state.state is not None:
        found["state"] = state.state
    for sensor in state.sensors.values():
        found[f"sensor/{sensor.index}/state"] = "ON" if sensor.on else "OFF"
        found[f"sensor/{sensor.index}/info"] = json.dumps(sensor_payload(sensor))
    return found


def info_payload(state: PanelState) -> dict[str, object]:
    found = {
        "guid": state.guid,
        "name": state.name,
        "firmware": state.firmware,
        "product": state.product,
        "address": state.address,
        "connected_since": timestamp(state.connected_since) if state.connected_since else None,
        "last_seen": timestamp(state.last_seen) if state.last_seen else None,
        "ac_power": state.ac_power,
        "battery_low": state.battery_low,
        "wifi": state.wifi,
        "battery_mv": state.battery_mv,
        "gsm_signal": state.gsm_signal,
        "wifi_signal": state.wifi_signal,
    }
    return {name: value for name, value in found.items() if value is not None}


def sensor_payload(sensor: Sensor) -> dict[str, object]:
    return {
        "index": sensor.index,
        "name": sensor.name,
        "type": sensor.type_name,
        "tamper": bool(sensor.tamper),
        "battery_low": bool(sensor.battery_low),
        "last_activity": timestamp(sensor.last_activity) if sensor.last_activity else None,
    }
