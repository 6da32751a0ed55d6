"""The known panels: those of the configuration and those that connected, with their last states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.g90.control import PanelControl
from bridge.g90.reader import PanelReader
from bridge.g90.registry import PanelConfig
from bridge.g90.state.model import PanelState
from bridge.panels.code_lock import CodeLock


@dataclass(frozen=True, slots=True)
class ControlledPanel:
    """A configured panel with the way to command it; `control` None: it is not controlled."""

    config: PanelConfig
    control: PanelControl | None
    lock: CodeLock
    reader: PanelReader


class KnownPanels:
    def __init__(self, configured: Mapping[str, ControlledPanel]) -> None:
        self.configured = configured
        self.states: dict[str, PanelState] = {}
        """As stored last, of the panels that were heard."""

    def __contains__(self, guid: str) -> bool:
        return guid in self.configured or guid in self.states

    def label(self, guid: str) -> str:
        """Return the name of a panel in the log: its GUID where it has no name."""
        if guid in self.configured:
            return self.configured[guid].config.label
        state = self.states.get(guid)
        return (state and state.name) or guid

    @property
    def guids(self) -> list[str]:
        return sorted({*self.configured, *self.states})

    @property
    def online(self) -> int:
        return sum(bool(state.link.online) for state in self.states.values())
