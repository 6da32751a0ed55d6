"""Asks the running bridge how it is: the socket that `bridge.app.health` serves.

A health check runs each minute, so what this imports has to be small.
"""

from __future__ import annotations

import _socket  # `socket` takes as long as the interpreter's start
import os
import time

from bridge.common.errors import BridgeError

ANSWER_S = 5.0
DETAILS = b"details"
"""The request for counters and log beside the problems."""
_LONGEST_PATH = 100
"""A socket's path has 108 bytes at most."""


class UnhealthyError(BridgeError):
    """The bridge does not run, or does not answer."""


class HealthReport:
    """What hangs, the problems as [kind, owner, since, text], and the owners that are not checked yet.

    `state` is what the node does in its cluster, such as standby; '' without one. With `details`: the counters of
    TOPICS.md (Bridge health) by name, and the last lines of the log.
    """

    def __init__(self, lines: list[list[str]]) -> None:
        self.hanging = [name for what, name, *_ in lines if what == "hangs"]
        self.problems = [fields for what, *fields in lines if what == "problem"]
        self.state = next((name for what, name, *_ in lines if what == "state"), "")
        self.unknown = [owner for what, owner, *_ in lines if what == "unknown"]
        self.counters = {name: value for what, name, value, *_ in (line for line in lines if line[0] == "counter")}
        self.log = ["\t".join(words) for what, *words in lines if what == "log"]


def socket_path(store: str | os.PathLike[str]) -> str:
    return f"{os.path.abspath(store)}.sock"


def address(path: str) -> tuple[str, int]:
    """Return a name of the socket `path` that is short enough, and the descriptor to close after use.

    The descriptor is -1 where there is nothing to close.
    """
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path, -1
    folder, name = os.path.split(path)
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    return f"/proc/self/fd/{directory}/{name}", directory


def ask(store: str | os.PathLike[str], *, details: bool = False) -> HealthReport:
    """Ask the bridge that runs on `store`. Raises UnhealthyError where none answers."""
    try:
        answer = _answer(socket_path(store), DETAILS if details else b"")
        lines = [line.split("\t") for line in answer.split("\n")[:-1]]
    except TimeoutError:
        raise UnhealthyError(f"the bridge does not answer within {ANSWER_S:.0f} s: it hangs") from None
    except PermissionError:
        raise UnhealthyError(f"{socket_path(store)}: permission denied; run this as the user of the bridge") from None
    except OSError:
        raise UnhealthyError(f"no bridge runs on {store}") from None
    if lines[-1:] != [["end"]]:
        raise UnhealthyError("the bridge sent an incomplete answer")
    return HealthReport(lines[:-1])


def _answer(path: str, request: bytes) -> str:
    found, ends = b"", time.monotonic() + ANSWER_S
    connection = _socket.socket(_socket.AF_UNIX)
    name, directory = address(path)
    try:
        connection.settimeout(ANSWER_S)
        connection.connect(name)
        try:
            connection.sendall(request)
            connection.shutdown(_socket.SHUT_WR)
        except OSError:  # it broke off at once: what it sent says more
            pass
        while piece := connection.recv(65536):
            found += piece
            connection.settimeout(max(ends - time.monotonic(), 0.001))
    finally:
        connection.close()
        if directory >= 0:
            os.close(directory)
    return found.decode(errors="replace")
