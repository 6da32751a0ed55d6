"""The record of a line: runs of the bridge, and the state changes seen in them. Unix times in seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edge:
    """A part of a transmitter came up or went down."""

    transmitter: str
    part: str
    """`link`, `receiver/R` or `path/N`, as in the topics (TOPICS.md, Transmitter states)."""
    at: float
    up: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A time in which the bridge ran; if killed, until its last write. A part is unknown until its edge."""

    start: float
    end: float
    edges: tuple[Edge, ...] = ()
