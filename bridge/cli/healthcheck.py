"""`sosbridge healthcheck`: for Docker and other watchers."""

from __future__ import annotations

import argparse

from bridge.app import health


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "healthcheck",
        help="exit 0 only where the running bridge is connected and no alarm is stuck",
        description="Ask the bridge that runs on the configured store. Exit status 0: connected to the broker, and no "
        f"alarm waits for more than {health.STUCK_AFTER_S:.0f} s; 1: not so, or no bridge answers; a line says why.",
    )
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    await health.ask(args.load_settings().store.path)
    print("healthy")
    return 0
