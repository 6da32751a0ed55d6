"""What a panel answers to our requests, taken into its state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bridge.g90.state.duplicates import ReportedEvent, remember, unread
from bridge.g90.state.interpret import ARM_EVENTS
from bridge.g90.state.panel import PanelState, Sensor
from bridge.g90.state.reducer import Step
from bridge.g90.state.updates import after_arming
from bridge.g90.wire.constants import ArmCode
from bridge.g90.wire.events import Form, PanelEvent, slot

if TYPE_CHECKING:
    from datetime import datetime

    from bridge.g90.wire.commands import HostInfo, HostStatus, SensorRecord


def with_status(state: PanelState, status: HostStatus, now: datetime) -> Step:
    """Take the panel's answer to a status request: an event if it was armed or disarmed while nobody listened."""
    state = replace(state, product=status.product or state.product)
    if status.arm == ArmCode.ALARMED:
        return Step(replace(state, triggered=True))
    event = ARM_EVENTS[status.arm]
    if state.arm == event and not state.triggered:
        return Step(state)
    known_before = state.arm is not None
    event_told = PanelEvent(guid=state.guid, type=event, at=now, source="status")
    report = ReportedEvent(slot(event, None, None), None, (Form.READ,), None, now)
    state = replace(after_arming(state, event), told=remember(unread(state.told), report))
    return Step(state, (event_told,) if known_before else ())


def with_sensors(state: PanelState, records: tuple[SensorRecord, ...]) -> PanelState:
    """Take the panel's sensor list: names and types; sensors that it does not name are gone."""
    sensors = {}
    for record in records:
        known = state.sensors.get(record.index) or Sensor(index=record.index)
        sensors[record.index] = replace(known, name=record.name, type=record.type)
    return replace(state, sensors=sensors)


def with_info(state: PanelState, info: HostInfo) -> PanelState:
    """Take the panel's host info."""
    return replace(
        state,
        product=info.product,
        battery_mv=info.battery_mv,
        gsm_signal=info.gsm_signal,
        wifi_signal=info.wifi_signal,
    )
