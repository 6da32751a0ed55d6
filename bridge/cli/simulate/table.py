"""The rows of `sosbridge simulate` in the table of commands."""

from __future__ import annotations

from functools import partial

from bridge.cli.rows import Subcommand, option

_fault = partial(option, group="faults")
_RECEIVER = (
    option("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"),
    option("--port", type="arguments.port", default=19000, help="port to listen on (default: %(default)s)"),
    option(
        "--pair",
        action="store_true",
        help="a primary and a secondary receiver, on --port and the next one, with the same transmitters and "
        "passwords; faults are those of the primary",
    ),
    option("--tls", action="store_true", help="use TLS, with --cert and --key"),
    option("--cert", metavar="FILE", help="certificate, PEM"),
    option("--key", metavar="FILE", help="private key of the certificate, PEM"),
    option(
        "--transmitter",
        action="append",
        type="simulate.receiver.transmitter",
        default=[],
        metavar="CODE:PASSWORD",
        help="accept this transmitter; repeatable",
    ),
    option("--state", metavar="FILE", help="store transmitters and rotated passwords here"),
    option(
        "--ping-interval",
        type="arguments.seconds",
        default=1.0,
        metavar="S",
        help="answer 101 to heartbeats with less time between them (default: %(default)s)",
    ),
    option("--no-heartbeat", action="store_true", help="answer 9 to heartbeats"),
    _fault("--status", type=int, metavar="N", help="answer with this status without processing"),
    _fault("--drop", action="store_true", help="close the connection without processing the request"),
    _fault("--lose", action="store_true", help="process the request, then close without an answer"),
    _fault("--delay", type="arguments.seconds", default=0.0, metavar="S", help="seconds to wait before the answer"),
    _fault("--garbage", choices=("random", "truncated"), nargs="?", const="random", help="send an invalid answer"),
    _fault(
        "--segment",
        type="arguments.seconds",
        nargs="?",
        const=0.01,
        metavar="S",
        help="answer byte by byte with this many seconds between (default: %(const)s)",
    ),
    _fault("--times", type="arguments.count", metavar="N", help="number of requests with faults (default: all)"),
)
_RECEIVER_EXAMPLES = """examples:
  sosbridge simulate receiver --transmitter IK00001:012345678912345
  sosbridge simulate receiver --pair --state receivers.json
  sosbridge simulate receiver --port 19100 --tls --cert cert.pem --key key.pem
  sosbridge simulate receiver --status 5 --times 3
"""
_SIMULATED_PANEL = (
    option("--guid", default="GB7F20C14D05A91", help="GUID of the panel (default: %(default)s)"),
    option(
        "--cloud",
        type="arguments.host_port",
        default="127.0.0.1:5678",
        metavar="HOST:PORT",
        help="server to connect to (default: %(default)s)",
    ),
    option(
        "--local",
        type="arguments.host_port",
        metavar="HOST:PORT",
        help="answer UDP commands on this address, for example 127.0.0.1:12368 (default: off)",
    ),
    option(
        "--sensor",
        type="simulate.panel.sensor",
        action="append",
        default=[],
        metavar="N:TYPE:NAME",
        help="a sensor, for example 9:smoke:Kitchen; repeatable",
    ),
    option(
        "--relay",
        type="simulate.panel.relay",
        action="append",
        default=[],
        metavar="N:NAME",
        help="a relay, for example 12:Lamp; repeatable",
    ),
    option(
        "--interval",
        type="arguments.timeout",
        default=60.0,
        metavar="S",
        help="seconds between hellos (default: %(default)g)",
    ),
    option("--chop", type="arguments.count", metavar="BYTES", help="send in pieces of this size"),
    option("--glue", action="store_true", help="send all messages of an event, and a ping, in one piece"),
    option("--do", action="append", default=[], metavar="COMMAND", help="run this, then exit; repeatable"),
)
_SIMULATED_PANEL_EXAMPLES = """commands, with --do or as lines on standard input:
  arm-away  arm-home  disarm  sos  power-lost  power-back  panel-battery-low  wifi-lost  wifi-back
  open N  close N  motion N  alarm N  tamper N  battery-low N  ring N     (N: sensor index, 0 to 255)
  button N arm_away|arm_home|disarm|sos     alarmed (without a reason)
  gap SECONDS: no connection      clock SECONDS: set the clock ahead; negative: back
  slow SECONDS, lose COUNT, truncate COUNT: how it answers over UDP
  wait SECONDS     quit

examples:
  sosbridge simulate panel --cloud 127.0.0.1:5678 --sensor 1:door:"Front door" --sensor 9:smoke:"Kitchen smoke"
  sosbridge simulate panel --do arm-away --do "alarm 9" --do "wait 5" --do disarm
"""

SIMULATE = {
    "simulate": Subcommand("simulate a receiver or a panel"),
    "simulate receiver": Subcommand(
        "simulate the receiver of an alarm receiving centre",
        "simulate.receiver.run",
        _RECEIVER,
        about="Simulate an SOS Access v4 receiver and print what arrives. Without --transmitter it accepts any "
        "transmitter, with the password of its first message.",
        more=_RECEIVER_EXAMPLES,
    ),
    "simulate panel": Subcommand(
        "simulate a G90 panel",
        "simulate.panel.run",
        _SIMULATED_PANEL,
        about="Simulate a G90 panel that connects to a bridge, sends reports and carries out commands over UDP and "
        "over its connection. Without --do, reads commands from standard input until stopped.",
        more=_SIMULATED_PANEL_EXAMPLES,
    ),
}
