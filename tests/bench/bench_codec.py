"""Encoding and decoding of every message beside `sos-access`, in turn, in one process: only the ratios mean anything.

Run it: `tests/bench/run codec [--rounds 9] [--messages 300]`. Both have xmltodict underneath.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from typing import Any

from bench.figures import at_least
from bench.peers import sos_access

from bridge.common.models import Secret
from bridge.sos_access import messages as ours

GOALS = {"encoding": 2.0, "decoding": 1.5}
_WORD = "a1b2c3d4e5f6g7h"
_ALARM = {"event_code": "BA", "transmitter_type": "SV301", "transmitter_code": "IK00001", "receiver": "ALARM-OPER"}
_WHERE = {"section": "1", "section_text": "House", "detector": "7", "detector_text": "Front door", "reference": "r1"}
_LINK = {"transmitter_type": "SV301", "transmitter_code": "IK00001", "reference": "r1"}
_ANSWER = {"status": 0, "info": "OK", "reference": "r1"}
_ARRIVAL = {"arrival_time": datetime(2026, 11, 21, 10, tzinfo=UTC)}
MESSAGES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "AlarmRequest": (_ALARM | _WHERE | {"alarm_type": "AL"}, ("authentication",)),
    "AlarmResponse": (_ANSWER | _ARRIVAL, ()),
    "PingRequest": (_LINK, ("authentication",)),
    "PingResponse": (_ANSWER | _ARRIVAL, ()),
    "NewAuthRequest": (_LINK, ("authentication",)),
    "NewAuthResponse": (_ANSWER | _ARRIVAL, ("new_authentication",)),
}
"""Values of each message, and which of it are passwords."""


def our_message(name: str) -> Any:  # noqa: ANN401 - one of six
    kind = getattr(ours, name)
    values, secrets = MESSAGES[name]
    given = values | {word: Secret(_WORD) for word in secrets}
    known = {field.name for field in fields(kind)}
    return kind(**{key: value for key, value in given.items() if key in known})


def seconds(work: Callable[[], object], count: int) -> float:
    begun = time.process_time()  # on a busy machine the longer of two waits the longer
    for _ in range(count):
        work()
    return time.process_time() - begun


def ratio(work: Callable[[], object], peer: Callable[[], object], rounds: int, count: int) -> float:
    """Return how many times as fast `work` is, the median of rounds in turn."""
    work(), peer()
    return statistics.median(seconds(peer, count) / seconds(work, count) for _ in range(rounds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--messages", type=int, default=300)
    given = parser.parse_args()
    schemas, ratios = sos_access("schemas"), []
    for name, (values, secrets) in MESSAGES.items():
        message, schema = our_message(name), getattr(schemas, f"{name}Schema")()
        peer = getattr(schemas, name)(**values, **dict.fromkeys(secrets, _WORD))
        text, kind = message.to_xml(), type(message)
        encode = ratio(message.to_xml, partial(schema.dump, peer), given.rounds, given.messages)
        decode = ratio(partial(kind.from_xml, text), partial(schema.load, text), given.rounds, given.messages)
        ratios.append((encode, decode))
        print(f"{name:16} encode {encode:4.1f}  decode {decode:4.1f}  times as fast as sos-access")
    for (what, goal), found in zip(GOALS.items(), zip(*ratios, strict=True), strict=True):
        shown = f"{{:.1f}} to {max(found):.1f} x as fast"
        at_least(f"{what} each message", "`sos-access`", min(found), goal, shown)


if __name__ == "__main__":
    main()
