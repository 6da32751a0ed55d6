"""The product: the installed command in a process of its own, started and ended from outside."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from chaos.ledger import Ledger, now

PASSWORD = "firstpassword15"
_ENDS_WITHIN_S = 30.0
_GENERAL = """\
mqtt = {{host = "127.0.0.1", port = {broker}, base_topic = "{base}"{keepalive}}}
homeassistant = {{enabled = false}}
store = {{path = {store}}}
"""
_TRANSMITTER = """
[[transmitters]]
name = "{name}"
transmitter_code = "{code}"
transmitter_type = "SV300"
authentication = "{password}"
receiver_id = "ALARM-OPER"
receiver = "{primary}"
secondary_receiver = "{secondary}"
connect_timeout = "2s"
response_timeout = "3s"
"""

_PANEL = """
[[g90.panels]]
guid = "{guid}"
name = "{name}"
"""
_FORWARD = """
[[forward]]
panel = "{guid}"
sensor = "{name}-*"
transmitter = "{transmitter}"
event = "{event}"
event_code = "{code}"
"""
RULES = {"alarm": ("FA", None), "door_opened": ("BA", "door_closed"), "sos": ("PA", "2s")}
"""What becomes of a panel's events: the event code, and when the alarm is restored."""


def code(transmitter: str) -> str:
    """Return its transmitter code."""
    return f"IK{int(transmitter.removeprefix('t')):05d}"


def store_of(folder: Path) -> Path:
    return folder / "disk" / "bridge.db"


def configuration(
    folder: Path,
    base: str,
    broker: int,
    receivers: Sequence[int],
    transmitters: Sequence[str],
    keepalive: str = ', keepalive = "5s"',
) -> str:
    """Return the TOML file of a bridge with these transmitters; `keepalive` is empty for the usual one."""
    primary, secondary = (f"127.0.0.1:{port}" for port in receivers)
    store = json.dumps(str(store_of(folder)))
    text = _GENERAL.format(broker=broker, base=base, keepalive=keepalive, store=store)
    for name in transmitters:
        values = {"name": name, "code": code(name), "primary": primary, "secondary": secondary}
        text += _TRANSMITTER.format(password=PASSWORD, **values)
    return text


def guid(panel: str) -> str:
    """Return the GUID of a panel."""
    return f"GB7F20C14D05{panel.upper()}"


def forwarding(port: int, panels: Mapping[str, str]) -> str:
    """Return what the TOML file needs for panels that dial this port, each with the transmitter of its alarms."""
    text = f'\n[g90]\nlisten = "127.0.0.1:{port}"\n'
    for name in panels:
        text += _PANEL.format(guid=guid(name), name=name)
    for name, transmitter in panels.items():
        values = {"guid": guid(name), "name": name, "transmitter": transmitter}
        for event, (event_code, restore_on) in RULES.items():
            text += _FORWARD.format(event=event, code=event_code, **values)
            text += f'restore_on = "{restore_on}"\n' if restore_on else ""
    return text


def command() -> list[str]:
    """Return the installed command. It is beside the Python that runs this."""
    found = shutil.which("sosbridge", path=str(Path(sys.executable).parent))
    assert found, (
        f"sosbridge is not installed beside {sys.executable}: run tests/run first, or name a Python: PYTHON=..."
    )
    return [found]


class Product:
    """One bridge over all its lives."""

    def __init__(self, folder: Path, ledger: Ledger) -> None:
        self.config = folder / "bridge.toml"
        self._log = folder / "bridge.log"
        self._ledger = ledger
        self.control = asyncio.Lock()
        """Held by whoever starts and ends it."""
        self._process: subprocess.Popen[bytes] | None = None
        self.program = command()
        self._ending = False
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("SOSBRIDGE_", "PYTHON"))}

    def start(self) -> None:
        assert self._process is None, "it runs already"
        self._ending = False
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.program, "--config", str(self.config), "run"],
                cwd=self.config.parent,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def command(self, *arguments: str) -> str:
        """Run a command with the configuration of this bridge; return what went wrong."""
        process = await asyncio.create_subprocess_exec(
            *self.program, "--config", str(self.config), *arguments, env=self.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        _, wrong = await process.communicate()
        return wrong.decode() if process.returncode else ""

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def limit_files(self, size: int) -> None:
        """Let the process that runs now write no file beyond `size`."""
        if self._process is not None and self.alive:
            hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size, hard))

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it as a power cut does."""
        if self._process is None:
            return
        if not (self.alive or self._ending):
            self._ledger.strange.append(f"the bridge ended by itself with status {self._process.returncode}")
        self.end()
        self._ledger.kills.append(now())

    def pause(self) -> None:
        """Let it stand still, as a machine that is suspended does."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Leave no process behind; this is no fault that is counted."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_ENDS_WITHIN_S)
            for left in Path("/dev/shm").glob(f"*faketime_*_{self._process.pid}"):  # by libfaketime, at each kill
                left.unlink(missing_ok=True)
            self._process = None

    async def stop(self) -> None:
        """End it as systemd does."""
        assert self._process is not None
        self._ending = True
        self._process.terminate()
        status = await asyncio.to_thread(self._process.wait, _ENDS_WITHIN_S)
        self._process = None
        self._ledger.stops.append(now())
        if status not in (0, -signal.SIGTERM):  # the latter: it had only just been started
            self._ledger.strange.append(f"the bridge was stopped and ended with status {status}")
