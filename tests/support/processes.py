"""The bridge as users run it: a process of its own, started, killed and asked from outside."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import bridge

ENDS_WITHIN_S = 30.0


def environment() -> dict[str, str]:
    """What a shell has, without settings of the bridge; the package is the one that is tested."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SOSBRIDGE_")}
    return kept | {"PYTHONPATH": str(Path(bridge.__file__).parents[1])}


class Bridge:
    """`python -m bridge --config FILE run`, its log in a file."""

    def __init__(self, config: Path, log: Path) -> None:
        self.config = config
        self.log_file = log
        self.umask = -1
        """The files that others may read by default; -1: as the tests' own."""
        self.open_files: int | None = None
        """How many it may have open; None: as many as the tests."""
        self.variables: dict[str, str] = {}
        """Of its environment, beside what a shell has."""
        self.program: Sequence[str] = ("-m", "bridge")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert self.process is None, "it runs already"
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._limit(), *self._command(["run"])],
                cwd=self.config.parent,
                env=environment() | self.variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                umask=self.umask,
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def argv(self) -> str:
        """The command line that everybody on the machine can see."""
        return self.told("cmdline")

    def told(self, name: str) -> str:
        """What the system tells of the process."""
        assert self.process is not None
        return Path(f"/proc/{self.process.pid}/{name}").read_text(errors="replace")

    @property
    def resident(self) -> int:
        """The bytes of memory that it takes."""
        return int(self.told("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """End it as a power cut does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(ENDS_WITHIN_S)
            self.process = None

    async def stop(self, within: float = ENDS_WITHIN_S) -> int:
        """End it as systemd does; return its exit status. It takes no longer than `within`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.ends(within)

    async def ends(self, within: float = ENDS_WITHIN_S) -> int:
        assert self.process is not None
        status = await asyncio.to_thread(self.process.wait, within)
        self.process = None
        return status

    async def logs(self, text: str, *, after: int = 0) -> str:
        """Wait for a line with `text`, past so many characters of the log, and return it."""
        for _ in range(int(ENDS_WITHIN_S / 0.02)):
            for line in self.log[after:].splitlines():
                if text in line:
                    return line
            assert self.process is None or self.process.poll() is None, f"the bridge has ended: {self.log[after:]}"
            await asyncio.sleep(0.02)
        raise AssertionError(f"no line with {text!r} in the log: {self.log[after:]}")

    async def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command with the same configuration."""
        return await asyncio.to_thread(self._run, arguments)

    def _run(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(arguments),
            cwd=self.config.parent,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=ENDS_WITHIN_S,
            check=False,
        )

    def _command(self, arguments: Sequence[str]) -> list[str]:
        return [sys.executable, *self.program, "--config", str(self.config), *arguments]

    def _limit(self) -> list[str]:
        if self.open_files is None:
            return []
        return ["bash", "-c", f'ulimit -n {self.open_files} && exec "$@"', "bash"]
