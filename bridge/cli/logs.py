"""Logging to standard error, as text or as one JSON object per line."""

from __future__ import annotations

import json
import logging
import math
import sys
from datetime import datetime
from typing import Literal

from bridge.app.log_lines import KeptLines
from bridge.common.lasting import Lasting

_COLOURS = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[1;31m"}
_PLAIN = "\033[0m"
_FIELDS = ("transmitter", "panel", "number", "event_code", "outcome", "receiver", "path", "attempt")
_MOST_TEXTS = 1000
"""Of lines that last; past it, all are forgotten."""
_OVER_AFTER_S = 120.0
"""The same text after a longer silence is another fault: loops try again each minute at the latest."""


class HumanFormatter(logging.Formatter):
    """`2026-01-31 06:30:00.123 WARNING home: …`; coloured on a terminal."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-8s %(message)s", "%Y-%m-%d %H:%M:%S")
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        colour = _COLOURS.get(record.levelname)
        return f"{colour}{line}{_PLAIN}" if self._colours and colour else line


class JsonFormatter(logging.Formatter):
    """`{"time": …, "level": …, "logger": …, "message": …}` and those of `_FIELDS` that apply."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        found: dict[str, object] = {
            "time": moment,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields = ((name, getattr(record, name, None)) for name in _FIELDS)
        found |= {name: value for name, value in fields if value is not None}
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found, ensure_ascii=False)


class Sparsely(logging.Filter):
    """Passes few of the lines that a loop repeats while something fails: of those marked with `LASTS`."""

    def __init__(self) -> None:
        super().__init__()
        self._lasting: dict[str, tuple[Lasting, float]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(record, "lasts", False):
            return True
        text = record.getMessage()
        lasting, heard = self._lasting.get(text, (Lasting(), -math.inf))
        if record.created - heard > _OVER_AFTER_S:
            lasting = Lasting()
        if text not in self._lasting and len(self._lasting) >= _MOST_TEXTS:
            self._lasting.clear()
        self._lasting[text] = lasting, record.created
        return lasting.is_due(record.created)


def setup_logging(level: str, style: Literal["human", "json"], *, keep: bool = False) -> None:
    """Log to standard error from `level` on, replacing any earlier setup; `keep` the last lines as well."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else HumanFormatter(colours=sys.stderr.isatty()))
    handlers: list[logging.Handler] = [handler]
    if keep:
        handlers.append(KeptLines())
        handlers[-1].setFormatter(HumanFormatter(colours=False))
    for each in handlers:
        each.addFilter(Sparsely())
    logging.basicConfig(level=level.upper(), handlers=handlers, force=True)
    # asyncio logs debug lines before the settings name the style.
    logging.getLogger("asyncio").setLevel(max(logging.INFO, logging.getLogger().level))
    # aiomqtt's warnings repeat what the bridge logs itself.
    logging.getLogger("mqtt").setLevel(logging.ERROR)
