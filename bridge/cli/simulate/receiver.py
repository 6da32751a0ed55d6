"""`sosbridge simulate receiver`: simulate an SOS Access v4 receiver, with faults."""

from __future__ import annotations

import argparse
import ssl
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from bridge.cli.common import say
from bridge.common.errors import ConfigError
from bridge.common.models import Secret
from bridge.common.stop import stop_signals
from bridge.common.text import clean
from bridge.sos_access.simulator.receiver import Accounts, Arrival, Fault, Receiver
from bridge.sos_access.simulator.rules import info_for


async def run(args: argparse.Namespace) -> int:
    """Serve until a signal stops it; return the exit status. Raises `BridgeError` if it cannot start."""
    with stop_signals() as stop:
        async with AsyncExitStack() as running:
            for name, receiver in receivers(args).items():
                await running.enter_async_context(receiver)
                address = "{}:{}".format(*receiver.address)
                say(f"{name}receiving on {address}{' with TLS' if args.tls else ''}")
            await stop.wait()
    return 0


def receivers(args: argparse.Namespace) -> dict[str, Receiver]:
    """Return the receivers by what their lines begin with; those of a pair share their accounts."""
    state = Path(args.state) if args.state else None
    accounts = Accounts(dict(args.transmitter), accept_unknown=not args.transmitter, path=state)
    ports = {"primary: ": args.port, "secondary: ": args.port and args.port + 1} if args.pair else {"": args.port}
    found = {
        name: Receiver(
            accounts,
            args.host,
            number,
            tls=_tls(args),
            ping_interval_min=args.ping_interval,
            heartbeats=not args.no_heartbeat,
            on_arrival=partial(_show, name),
        )
        for name, number in ports.items()
    }
    fault = Fault(args.status, args.drop, args.lose, args.delay, args.garbage, args.segment)
    if fault != Fault():
        next(iter(found.values())).faults.add(fault, args.times)
    return found


def _show(name: str, arrival: Arrival) -> None:
    say(f"{name}{describe(arrival)}")


def _tls(args: argparse.Namespace) -> ssl.SSLContext | None:
    if not args.tls:
        return None
    if args.cert is None or args.key is None:
        raise ConfigError("--tls needs --cert and --key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(args.cert, args.key)
    except OSError as error:
        raise ConfigError(f"--cert and --key: {clean(error.strerror or error)}") from None
    return context


def describe(arrival: Arrival) -> str:
    """Return a summary line of `arrival`, then its document, indented and with the password masked."""
    if arrival.status is None:
        answer = "dropped"
    else:
        answer = f"{arrival.status} {info_for(arrival.status)}{'' if arrival.answered else ' (not sent)'}"
    request = arrival.request
    about = "" if request is None else f" {clean(request.transmitter_code)}"
    event = getattr(request, "event_code", None)
    about += "" if event is None else f" {clean(event)}"
    document = "\n".join(f"    {clean(line, 10_000)}" for line in arrival.masked.splitlines())
    return f"{arrival.time:%H:%M:%S} {arrival.peer} {arrival.kind}{about}: {answer}\n{document}"


def transmitter(text: str) -> tuple[str, Secret]:
    code, colon, password = text.partition(":")
    if not (code and colon and password):
        raise argparse.ArgumentTypeError("expected CODE:PASSWORD")
    return code, Secret(password)
