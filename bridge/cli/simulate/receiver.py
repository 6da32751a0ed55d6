"""`sosbridge simulate receiver`: simulate an SOS Access v4 receiver, with faults."""

from __future__ import annotations

import argparse
import ssl
from pathlib import Path

from bridge.cli.arguments import count, port, seconds
from bridge.cli.common import say, stop_signals
from bridge.common.errors import ConfigError
from bridge.common.models import Secret
from bridge.common.text import clean
from bridge.sos_access.simulator.receiver import Accounts, Arrival, Fault, Receiver
from bridge.sos_access.simulator.rules import info_for

_EXAMPLE = """example:
  sosbridge simulate receiver --transmitter IK00001:012345678912345
  sosbridge simulate receiver --port 19100 --tls --cert cert.pem --key key.pem --state receiver.json
  sosbridge simulate receiver --status 5 --times 3
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "receiver",
        help="simulate the receiver of an alarm receiving centre",
        description="Simulate an SOS Access v4 receiver and print what arrives. Without --transmitter it accepts any "
        "transmitter, with the password of its first message.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_line(parser)
    _add_faults(parser)
    parser.set_defaults(run=run)


def _add_line(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=port, default=19000, help="port to listen on (default: %(default)s)")
    parser.add_argument("--tls", action="store_true", help="use TLS, with --cert and --key")
    parser.add_argument("--cert", type=Path, metavar="FILE", help="certificate, PEM")
    parser.add_argument("--key", type=Path, metavar="FILE", help="private key of the certificate, PEM")
    parser.add_argument(
        "--transmitter",
        action="append",
        type=_transmitter,
        default=[],
        metavar="CODE:PASSWORD",
        help="accept this transmitter; repeatable",
    )
    parser.add_argument("--state", type=Path, metavar="FILE", help="store transmitters and rotated passwords here")
    parser.add_argument(
        "--ping-interval",
        type=seconds,
        default=1.0,
        metavar="S",
        help="answer 101 to heartbeats with less time between them (default: %(default)s)",
    )
    parser.add_argument("--no-heartbeat", action="store_true", help="answer 9 to heartbeats")


def _add_faults(parser: argparse.ArgumentParser) -> None:
    faults = parser.add_argument_group(
        "faults", "All given faults apply to each request, or to the first --times requests."
    )
    faults.add_argument("--status", type=int, metavar="N", help="answer with this status without processing")
    faults.add_argument("--drop", action="store_true", help="close the connection without processing the request")
    faults.add_argument("--lose", action="store_true", help="process the request, then close without an answer")
    faults.add_argument("--delay", type=seconds, default=0.0, metavar="S", help="seconds to wait before the answer")
    faults.add_argument(
        "--garbage", choices=["random", "truncated"], nargs="?", const="random", help="send an invalid answer"
    )
    faults.add_argument(
        "--segment",
        type=seconds,
        nargs="?",
        const=0.01,
        metavar="S",
        help="answer byte by byte with this many seconds between (default: %(const)s)",
    )
    faults.add_argument("--times", type=count, metavar="N", help="number of requests with faults (default: all)")


async def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; return the exit status. Raises `BridgeError` if it cannot start."""
    with stop_signals() as stop:
        async with _receiver(args) as receiver:
            say("receiving on {}:{}".format(*receiver.address) + (" with TLS" if args.tls else ""))
            await stop.wait()
    return 0


def _receiver(args: argparse.Namespace) -> Receiver:
    accounts = Accounts(dict(args.transmitter), accept_unknown=not args.transmitter, path=args.state)
    receiver = Receiver(
        accounts,
        args.host,
        args.port,
        tls=_tls(args),
        ping_interval_min=args.ping_interval,
        heartbeats=not args.no_heartbeat,
        on_arrival=lambda arrival: say(describe(arrival)),
    )
    fault = Fault(args.status, args.drop, args.lose, args.delay, args.garbage, args.segment)
    if fault != Fault():
        receiver.faults.add(fault, args.times)
    return receiver


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


def _transmitter(text: str) -> tuple[str, Secret]:
    code, colon, password = text.partition(":")
    if not (code and colon and password):
        raise argparse.ArgumentTypeError("expected CODE:PASSWORD")
    return code, Secret(password)
