"""`sosbridge healthcheck`: for Docker and other supervisors."""

from __future__ import annotations

import argparse

from bridge.app import health


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "healthcheck",
        help="exit 0 only if the running bridge is connected and no alarm is stuck",
        description="Query the bridge that runs on the configured store. Exit status 0: connected to the broker, and "
        f"no alarm has waited for more than {health.STUCK_AFTER_S:.0f} s; 1: otherwise, or no bridge answers, with the "
        "reason on standard error.",
    )
    parser.set_defaults(run=run)


async def run(args: argparse.Namespace) -> int:
    await health.ask(args.load_settings().store.path)
    print("healthy")
    return 0
