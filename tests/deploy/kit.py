"""The shipped files, and a real broker that runs with them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.brokers import Mosquitto, free_port

TOP = Path(__file__).parents[2]
DEPLOY = TOP / "deploy"


def run(*command: object, cwd: Path | None = None, status: int = 0, **environment: str) -> str:
    """Run a program that ends with `status`; return what it said."""
    words = [str(word) for word in command]
    path = f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    done = subprocess.run(
        words,
        cwd=cwd,
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def prepared(folder: Path) -> Path:
    """Return a copy of deploy/ in which `up --prepare` has run."""
    copy = folder / "deploy"
    shutil.copytree(DEPLOY, copy, ignore=shutil.ignore_patterns("site", ".env"))
    run(copy / "up", "--prepare")
    return copy


def password(deploy: Path, user: str) -> str:
    return (deploy / "site/passwords" / user).read_text()


class ShippedBroker(Mosquitto):
    """Mosquitto with the shipped configuration, at home in a copy of deploy/; ports and paths are a test's own."""

    def __init__(self, deploy: Path, includes: Sequence[str] = ()) -> None:
        site = deploy / "site"
        super().__init__(site)
        self.tls_port = free_port()
        for name in includes:
            shutil.copy(deploy / "mosquitto" / name, site / "mosquitto/conf.d")
            self._place(site / "mosquitto/conf.d" / name, deploy)
        self.config = site / "mosquitto.conf"
        shutil.copy(deploy / "mosquitto/mosquitto.conf", self.config)
        self._place(self.config, deploy)
        self.config.write_text(f"user root\n{self.config.read_text()}")  # what is root's is read by root here

    def _place(self, file: Path, deploy: Path) -> None:
        site = deploy / "site"
        text = file.read_text()
        for shipped, ours in (
            ("listener 1883", f"listener {self.port} 127.0.0.1"),
            ("listener 8883", f"listener {self.tls_port} 127.0.0.1"),
            ("/mosquitto/config/conf.d", f"{site}/mosquitto/conf.d"),
            ("/mosquitto/secrets", f"{site}/mosquitto/secrets"),
            ("/mosquitto/data", f"{site}/mosquitto/data"),
            ("/mosquitto/certificates", f"{site}/certificates"),
        ):
            text = text.replace(shipped, ours)
        file.write_text(text)
