"""`sosbridge` with a clock that a test sets: its error in seconds stands in the file that $CLOCK_ERROR names."""

from __future__ import annotations

import os
import time
from pathlib import Path

from bridge import cli
from bridge.common import clock

_ERROR = Path(os.environ["CLOCK_ERROR"])

clock.wall = lambda: time.time() + float(_ERROR.read_text("ascii"))
cli.main()
