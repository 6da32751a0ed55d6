"""`sosbridge run`: the service."""

from __future__ import annotations

import argparse
import logging
import os

from bridge import __version__
from bridge.app import service as app
from bridge.cli.logs import setup_logging
from bridge.config.sources import find

log = logging.getLogger(__name__)


async def run(args: argparse.Namespace) -> int:
    """Run the service. Raises ConfigError, BusyError or StoreError if it cannot start."""
    settings = args.load_settings()
    setup_logging(settings.log.level, settings.log.format, keep=True)
    file = args.config or find()
    log.info("sosbridge %s, configuration %s", __version__, file or "from the environment, without a file")
    service = app.run(settings)
    del settings  # which a node keeps in less memory
    await service
    # Everything is written and closed, but a thread resolving the broker's name could keep the process for minutes.
    logging.shutdown()
    os._exit(0)
