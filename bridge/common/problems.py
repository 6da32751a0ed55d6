"""What needs a person, as the topics `problem` and `problem/info` list it (TOPICS.md, Problems). Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from bridge.common.text import timestamp

Key = tuple[str, str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: `kind` and what it is about identify it, `text` is for people."""

    kind: str
    since: datetime
    text: str
    receiver: str | None = None
    path: str | None = None
    panel: str | None = None

    @property
    def key(self) -> Key:
        return (self.kind, self.receiver, self.path, self.panel)

    def as_json(self) -> dict[str, str]:
        """Return the published form: fields that do not apply are absent."""
        about = {"receiver": self.receiver, "path": self.path, "panel": self.panel}
        found = {"kind": self.kind, "since": timestamp(self.since), "text": self.text}
        return found | {name: value for name, value in about.items() if value is not None}


class Problems:
    """The problems of a transmitter, or of the bridge, in the order in which they were raised."""

    def __init__(self) -> None:
        self._raised: dict[Key, Problem] = {}

    def raise_(self, problem: Problem) -> None:
        """Add a problem; one that is raised already keeps its `since` and its place, and gets the new text."""
        before = self._raised.get(problem.key, problem)
        self._raised[problem.key] = replace(problem, since=before.since)

    def clear(self, kind: str, receiver: str | None = None, path: str | None = None, panel: str | None = None) -> None:
        """Remove a problem, if it is there."""
        self._raised.pop((kind, receiver, path, panel), None)

    def as_json(self) -> list[dict[str, str]]:
        return [problem.as_json() for problem in self._raised.values()]
