"""Logging to standard error, as text or as one JSON object per line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime
from typing import Literal

_COLOURS = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[1;31m"}
_PLAIN = "\033[0m"


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
    """`{"time": …, "level": …, "logger": …, "message": …}`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")
        found = {
            "time": moment,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            found["traceback"] = self.formatException(record.exc_info)
        return json.dumps(found, ensure_ascii=False)


def setup_logging(level: str, style: Literal["human", "json"]) -> None:
    """Log to standard error from `level` on, replacing any earlier setup."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else HumanFormatter(colours=sys.stderr.isatty()))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # asyncio logs debug lines before the settings name the style.
    logging.getLogger("asyncio").setLevel(max(logging.INFO, logging.getLogger().level))
    # aiomqtt's warnings repeat what the bridge logs itself.
    logging.getLogger("mqtt").setLevel(logging.ERROR)
