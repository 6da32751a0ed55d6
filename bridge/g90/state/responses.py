"""Applies responses of local and cloud commands to a panel's state (PROTOCOL.md, Commands)."""

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
    """Apply the response to a status request: an event if the arm state changed without a report."""
    state = replace(state, product=status.product or state.product)
    if status.arm == ArmCode.ALARMED:
        return Step(replace(state, triggered=True))
    event = ARM_EVENTS[status.arm]
    if state.arm == event and not state.triggered:
        return Step(state)
    known_before = state.arm is not None
    missed = PanelEvent(guid=state.guid, type=event, at=now, source="status")
    report = ReportedEvent(slot(event, None, None), None, (Form.READ,), None, now)
    state = replace(after_arming(state, event), reported=remember(unread(state.reported), report))
    return Step(state, (missed,) if known_before else ())


def with_sensors(state: PanelState, records: tuple[SensorRecord, ...]) -> PanelState:
    """Apply the sensor list: names and types; sensors that are not listed are removed."""
    sensors = {}
    for record in records:
        known = state.sensors.get(record.index) or Sensor(index=record.index)
        sensors[record.index] = replace(known, name=record.name, type=record.type)
    return replace(state, sensors=sensors)


def with_info(state: PanelState, info: HostInfo) -> PanelState:
    """Apply the host info."""
    return replace(
        state,
        product=info.product,
        battery_mv=info.battery_mv,
        gsm_signal=info.gsm_signal,
        wifi_signal=info.wifi_signal,
    )
