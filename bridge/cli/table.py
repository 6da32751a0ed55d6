"""The commands of the command line: path, help, options and the function that runs each.

It imports no command, so that help and completion are quick.
"""

from __future__ import annotations

from bridge.cli.rows import ONE_OF, Option, Subcommand, option
from bridge.cli.simulate.table import SIMULATE


def _json(what: str, group: str = "") -> Option:
    return option("--json", action="store_true", help=f"print JSON: {what}", group=group)


def _forms(what: str) -> tuple[Option, Option]:
    return option("--csv", action="store_true", help="print CSV", group=ONE_OF), _json(what, ONE_OF)


COMMON = (
    option("-c", "--config", metavar="FILE", help="configuration file"),
    option(
        "--set",
        dest="overrides",
        action="append",
        metavar="KEY=VALUE",
        help="override one setting, for example mqtt.host=localhost; repeatable",
    ),
    option("--log-level", choices=("debug", "info", "warning", "error"), help="least severe level to log"),
)
"""The options of every command, before or after it."""
_TRANSMITTER = option("-t", "--transmitter", metavar="NAME", help="needed if several are configured")
_REFERENCE = option("--reference", metavar="TEXT", help="shown in the receiver's log")
_NUMBER = option("number", type="arguments.row", help="a number of `sosbridge outbox list`")
_BACKUP = option("file", metavar="FILE", help="the backup, a tar file")
_ENTRY = "number, transmitter, request, state, accepted_at, attempts, urgent, undelivered, unauthorized, error, "
_ENTRY += "reference, alarm, warnings"
_ALARM = tuple(
    option(f"--{name}", metavar=metavar, help=text)
    for name, metavar, text in (
        ("reference", "TEXT", "up to 50 characters; shown in the receiver's log (default: a number)"),
        ("transmitter-time", "TIME", "when it happened, ISO 8601 (default: now)"),
        ("transmitter-area", "AREA", "area, up to 5 characters"),
        ("section", "NUMBER", "section, up to 5 characters"),
        ("section-text", "TEXT", "name of the section, up to 40 characters"),
        ("detector", "NUMBER", "detector, up to 5 characters"),
        ("detector-text", "TEXT", "name of the detector, up to 40 characters"),
        ("additional-info", "TEXT", "free text, up to 2000 characters"),
        ("position", "TEXT", "position as the operator expects it"),
    )
)
_REAL_ALARM = "Send one alarm to the receiver, without MQTT and without the outbox. This is a real alarm: inform the "
_REAL_ALARM += "alarm receiving centre first."
_PANEL = (
    option("guid", nargs="?", metavar="GUID", help="a configured panel that has a host (default: the only one)"),
    option("--host", metavar="HOST[:PORT]", help="the panel's address (default port: 12368)"),
    option(
        "--timeout", type="arguments.timeout", default=2.0, metavar="S", help="seconds for each attempt (default: 2)"
    ),
    option("--retries", type="arguments.retries", default=3, metavar="N", help="attempts after the first (default: 3)"),
)
_PANEL_EXAMPLES = """examples:
  sosbridge panel list
  sosbridge panel discover
  sosbridge panel status GB7F20C14D05A91
  sosbridge panel sensors --host 192.168.1.50
  sosbridge panel point-here --host 192.168.1.50 --address 192.168.1.10:5678
"""
COMMANDS: dict[str, Subcommand] = {
    "run": Subcommand(
        "run the bridge until it is stopped",
        "run.run",
        about="Run the bridge. SIGTERM, SIGINT (Ctrl-C) and SIGHUP stop it: it publishes what is left and `offline`, "
        "and exits with status 0. A SIGHUP that is ignored at the start, as by nohup, stays ignored.",
    ),
    "check": Subcommand(
        "test configuration, store, broker, receivers, panels and rules; list what is wrong",
        "check.run",
        (_json("a list of {what, works, details}; works is ok, failed, warning or not tested"),),
        about="Test the configuration, the store, the broker, each receiver over each path, the panels' port, the "
        "panels and the rules, and list the problems of the running service. Exit status: 0 if everything works, 1 if "
        "something does not, 2 if the configuration is wrong.",
    ),
    "ping": Subcommand("send one heartbeat directly", "alarm.send_ping", (_REFERENCE, _TRANSMITTER)),
    "rotate": Subcommand(
        "get a new password from the receiver and store it",
        "alarm.rotate_password",
        (_REFERENCE, _TRANSMITTER),
        about="Ask the receiver for a new password and store it beside the outbox, where the service finds it. Does "
        "not work while the service runs: publish to .../auth/rotate instead.",
    ),
    "alarm": Subcommand("raise or restore one alarm directly, for commissioning"),
    **{
        f"alarm {kind}": Subcommand(
            f"send one alarm ({alarm_type})",
            "alarm.send",
            (option("event_code", help="for example BA (burglary) or FA (fire)"), *_ALARM, _TRANSMITTER),
            about=_REAL_ALARM,
            more=f"example: sosbridge alarm {kind} BA --section 1 --section-text House",
            alarm_type=alarm_type,
        )
        for kind, alarm_type in (("raise", "AL"), ("restore", "RE"))
    },
    "test": Subcommand(
        "let the running service send a test alarm, and wait for the answer",
        "test.send",
        (option("--event-code", metavar="CODE", help="instead of the transmitter's test_event_code"), _TRANSMITTER),
        about="Let the running service send a test alarm with the transmitter's test_event_code, and wait for the "
        "answer: at once, over whatever receiver and path works, for five minutes at most. The operator gets an alarm: "
        "ask which code is a test.",
    ),
    "outbox": Subcommand(
        "list, show, retry or drop pending and rejected commands",
        about="Commands waiting for delivery, and alarms that a receiver rejected. Works while the service runs.",
    ),
    "outbox list": Subcommand(
        "list all pending and rejected commands", "outbox.list_all", (_TRANSMITTER, _json(f"a list of {{{_ENTRY}}}"))
    ),
    "outbox show": Subcommand("show one command with all fields, as JSON", "outbox.show", (_NUMBER,)),
    "outbox retry": Subcommand("queue a rejected alarm again", "outbox.retry", (_NUMBER,)),
    "outbox drop": Subcommand("delete one command; it is never sent", "outbox.drop", (_NUMBER,)),
    "history": Subcommand(
        "list every command that ended, with its result",
        "history.show",
        (
            option(
                "--since",
                type="history.since",
                default=0.0,
                metavar="TIME",
                help="a duration before now such as 24h or 7d, or a date such as 2026-11-30",
            ),
            _TRANSMITTER,
            *_forms("a list of results with their transmitter"),
        ),
        about="The commands that ended, oldest first, for as long as store.history keeps them. Works while the "
        "service runs.",
    ),
    "report": Subcommand(
        "figures of a month: availability, alarms, transmission times",
        "report.show",
        (
            option("--month", type="report.month", metavar="YYYY-MM", help="default: this month"),
            _TRANSMITTER,
            option("--html", metavar="FILE", help="write a page that can be printed or sent", group=ONE_OF),
            *_forms("a list of months, one for each transmitter"),
        ),
        about="What was measured of each transmitter's line in one month: availability of link, receivers and paths "
        "by day, alarms by outcome, transmission times, test alarms. Works while the service runs.",
    ),
    "backup": Subcommand(
        "write the store and the passwords to one file",
        "backup.save",
        (_BACKUP,),
        about="Write the store and the rotated passwords into one file with mode 0600. It contains passwords: keep it "
        "where only you can read it. Works while the service runs.",
    ),
    "restore-backup": Subcommand(
        "restore a backup; stop the service first",
        "backup.restore",
        (_BACKUP, option("--pending", action="store_true", help="send what was pending in it once the service starts")),
        about="Replace the store by a backup; the old store is kept under another name. Existing password files stay, "
        "because they are newer. Alarms that were pending become rejected ones, which `outbox retry` sends.",
    ),
    "store": Subcommand("copy a store from SQLite to PostgreSQL; stop the service first"),
    "store copy": Subcommand(
        "copy a SQLite store into a PostgreSQL database",
        "store.copy",
        (
            option("--from", dest="source", required=True, metavar="sqlite:PATH", help="the store to copy"),
            option(
                "--to",
                dest="target",
                required=True,
                metavar="URL",
                help="postgresql://USER@HOST/DATABASE; give the password in PGPASSWORD or in a password file",
            ),
        ),
        about="Copy commands, results, panels and passwords of a SQLite store into an empty PostgreSQL database, in "
        "one transaction. Stop the service first; afterwards set store.url, and start no service on the old store: it "
        "would send what is pending a second time.",
    ),
    "cluster": Subcommand(
        "list shards, their owners and the nodes of a cluster; move a shard, remove a node",
        about="The nodes that share the database store.url.",
    ),
    "cluster status": Subcommand(
        "list shards with their owners, and nodes; exit 1 if a shard has no owner",
        "cluster.status",
        (_json("a list of {what, name, works, details}; works is ok, failed or warning"),),
    ),
    "cluster move": Subcommand(
        "give a shard to another node",
        "cluster.move",
        (option("shard", type="arguments.row", help="its number"), option("node", help="its node.name")),
    ),
    "cluster forget": Subcommand(
        "remove a node that does not run any more, and will not again",
        "cluster.forget",
        (option("node", help="its node.name"),),
    ),
    "panel": Subcommand(
        "query or control a G90 panel in the local network",
        about="Query or control a G90 panel over UDP, without the bridge, or point it at this bridge.",
        more=_PANEL_EXAMPLES,
    ),
    "panel list": Subcommand(
        "list the configured panels, with the state of those that have a host",
        "panel.list_all",
        (_json("a list of {guid, name, control, host, state, product, error}"),),
    ),
    "panel discover": Subcommand(
        "find the panels in the local network",
        "panel.find",
        (
            option("--wait", type="arguments.timeout", default=5.0, metavar="S", help="seconds to wait (default: 5)"),
            option("--to", metavar="ADDRESS[:PORT]", help="instead of a broadcast"),
            _json("a list of {address, guid, product, firmware}"),
        ),
    ),
    "panel status": Subcommand(
        "show state, GUID, firmware and signals",
        "panel.status",
        (*_PANEL, _json("{state, guid, product, firmware, battery_mv, gsm_signal, wifi_signal}")),
    ),
    "panel sensors": Subcommand(
        "list the sensors with index and type", "panel.sensors", (*_PANEL, _json("a list of {index, type, name}"))
    ),
    **{
        f"panel {name}": Subcommand(text, "panel.set_to", (*_PANEL, _json("{state}")), action=name.replace("-", "_"))
        for name, text in (
            ("arm-away", "arm the panel"),
            ("arm-home", "arm the panel with people at home"),
            ("disarm", "disarm the panel"),
        )
    },
    "panel point-here": Subcommand(
        "make the panel connect to this bridge",
        "panel.point_here",
        (
            *_PANEL,
            option(
                "--address",
                metavar="IP[:PORT]",
                help="the server's address (default: g90.announce, else this machine's)",
            ),
            _json("{guid, address}"),
        ),
    ),
    "mqtt": Subcommand("remove what the bridge left on the broker"),
    "mqtt clear": Subcommand(
        "remove all retained topics of this installation from the broker",
        "mqtt.clear",
        (
            option("--dry-run", action="store_true", help="list the topics and remove nothing"),
            option("--yes", action="store_true", help="do not ask"),
        ),
        about="List every retained topic below mqtt.base_topic, and the Home Assistant discovery topics of this "
        "installation; then ask, and remove them. Stop the service first, or it publishes them again.",
    ),
    "homeassistant": Subcommand("print a dashboard for Home Assistant"),
    "homeassistant dashboard": Subcommand(
        "print the YAML of a dashboard, made from the configuration",
        "homeassistant.show_dashboard",
        about="Print a dashboard with the configured transmitters, alarms and panels, of Home Assistant's standard "
        "cards. Sensors of a panel are included once the service has read them. Works while the service runs.",
        more="example: sosbridge homeassistant dashboard > dashboard.yaml",
    ),
    **SIMULATE,
    "demo": Subcommand(
        "demonstrate alarms, failover and the outbox on this machine, with simulators",
        "demo.command.run",
        (
            option("--once", action="store_true", help="exit after the last step; status 0 if all worked"),
            option("--port", type="arguments.port", default=0, help="the broker's port (default: a free one)"),
        ),
        about="Start a broker, simulated receivers, a simulated panel and the bridge on this machine. Show what "
        "happens to alarms while receivers fail and recover, then keep running for your own tests. Needs: pip install "
        "'sosbridge[demo]'",
    ),
    "healthcheck": Subcommand(
        "print what needs a person; exit 0 while the running bridge works",
        "healthcheck.run",
        (
            option("--strict", action="store_true", help="exit 4 while anything needs a person or was not checked yet"),
            _json(
                "{healthy, state, hanging, problems, unknown}; state: of a node in its cluster; problems: a list of "
                "{kind, owner, since, text}"
            ),
        ),
        about="Ask the bridge that runs on the configured store what is wrong, and print it. Exit status: 0 while the "
        "bridge works, whatever it reports; 1 if it hangs or does not run; with --strict 4 while anything needs a "
        "person or was not checked yet.",
        light=True,
    ),
    "dump": Subcommand(
        "write what a bug report needs to one file, without passwords",
        "dump.write",
        (
            option(
                "file", nargs="?", metavar="FILE", help="- for standard output (default: sosbridge-dump-DATE-TIME.txt)"
            ),
        ),
        about="Write versions, settings, the state and counters of the running service, the sizes of the store and "
        "the last log lines to one file with mode 0600. Passwords, keys and codes are not in it; names and addresses "
        "are. Read it before you publish it.",
    ),
    "config": Subcommand("print an example configuration, or its JSON schema"),
    "config example": Subcommand(
        "print a commented example",
        "config.print_example",
        more="example: sosbridge config example > sosbridge.toml",
        light=True,
    ),
    "config schema": Subcommand(
        "print the JSON schema, for editors that validate TOML", "config.print_schema", light=True
    ),
    "completion": Subcommand(
        "print what makes a shell complete commands and options",
        "completion.print_script",
        (option("shell", choices=("bash", "zsh", "fish"), metavar="SHELL", help="bash, zsh or fish"),),
        more="""examples:
  sosbridge completion bash > ~/.local/share/bash-completion/completions/sosbridge
  sosbridge completion zsh > "${fpath[1]}/_sosbridge"
  sosbridge completion fish > ~/.config/fish/completions/sosbridge.fish
""",
        light=True,
    ),
    "help": Subcommand(
        "show the help of a command",
        options=(option("words", nargs="*", metavar="COMMAND", help="for example: outbox list"),),
        more="example: sosbridge help outbox list",
    ),
}
"""By path; those of a group follow it."""
