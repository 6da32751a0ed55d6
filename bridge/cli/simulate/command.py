"""`sosbridge simulate`: simulate a receiver or a panel."""

from __future__ import annotations

import argparse

from bridge.cli.simulate import panel as simulate_panel
from bridge.cli.simulate import receiver as simulate_receiver


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("simulate")
    kinds = parser.add_subparsers(metavar="KIND", required=True)
    simulate_receiver.register(kinds)
    simulate_panel.register(kinds)
