"""All that the product printed, logged, published or wrote while the tests ran, and the secrets that it was given.

Gathered are: the logs and all other files below the tests' folders, the output of every process, what each test saw on
standard output and in the log, and every message that a recorder saw. The secrets are those in configurations, password
files and secret files below those folders, those that tests name, and every `Secret` that was made in this process.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import currently_in_test_context

from bridge.common.models import Secret

_SHORTEST, _FEWEST_CHARACTERS = 7, 5
_IN_TABLE = re.compile(r"""(?:password|authentication|[{ ]code)"?\s*=\s*["']([^"'\n]+)["']""")
_NO_SECRETS = frozenset({"012345678912345", "postgresql://sosbridge@db1,db2/sosbridge?target_session_attrs=read-write"})
"""What `sosbridge config example` shows everybody."""
_HOLDERS = (
    ".toml",
    "mosquitto.conf",
    "mosquitto.db",
    "mosquitto.log",
    "flows_cred.json",
    ".key",
    ".pem",
    "state.json",
    ".tar",
    ".md",
)
"""Files of tests, the broker, Node-RED and the simulated receiver, and backups: with secrets, or commands of those who
know one.

And our documents, which some tests copy.
"""


class Gathered:
    """What came out, by where; and what should not have."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        """The text, and where it was seen first."""
        self._secrets: set[str] = set()

    def say(self, where: str, text: str | bytes | None) -> None:
        if text:
            text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
            self.texts.setdefault(text, where)

    def keep(self, secret: str) -> None:
        """Look for `secret`, if it cannot be there by chance."""
        if len(secret) >= _SHORTEST and len(set(secret)) >= _FEWEST_CHARACTERS and secret not in _NO_SECRETS:
            self._secrets.add(secret)

    def read(self, folder: Path) -> None:
        """Take the files below `folder`."""
        for path in folder.rglob("*"):
            if not path.is_file() or path.is_symlink():
                continue
            content = path.read_bytes()
            if path.suffix == ".toml":
                self._take_toml(content.decode("utf-8", "replace"))
            elif path.parent.name.endswith("passwords"):
                self._take_passwords(content)
            elif not path.name.endswith(_HOLDERS) and "secret" not in path.parent.name:
                self.say(str(path.relative_to(folder)), content)

    @property
    def secrets(self) -> frozenset[str]:
        return frozenset(self._secrets)

    def found(self) -> Iterator[str]:
        """Yield a line for each place that has a secret."""
        for text, where in self.texts.items():
            for secret in self._secrets:
                if secret in text:
                    at = text.index(secret)
                    yield f"{where}: {secret!r} in ...{text[max(0, at - 60) : at + len(secret) + 20]!r}"

    def _take_toml(self, text: str) -> None:
        for secret in _IN_TABLE.findall(text):
            self.keep(secret)

    def _take_passwords(self, content: bytes) -> None:
        try:
            passwords = [str(password["value"]) for password in json.loads(content)["passwords"]]
        except (ValueError, LookupError, TypeError):  # a test damaged it, or it is a file with one password
            self.keep(content.decode("utf-8", "replace").strip())
            return
        for password in passwords:
            self.keep(password)


GATHERED = Gathered()


class _Listener(logging.Handler):
    """Hears what the product logs in this process."""

    def emit(self, record: logging.LogRecord) -> None:
        GATHERED.say(f"log of {record.name}", self.format(record))


def pytest_configure() -> None:
    """Listen from the first test on."""
    logging.getLogger().addHandler(_Listener())
    make, communicate, readouterr = Secret.__init__, subprocess.Popen.communicate, pytest.CaptureFixture.readouterr

    def made(self: Secret, value: str | Secret) -> None:
        make(self, value)
        if not currently_in_test_context():  # hypothesis makes thousands, any text among them
            GATHERED.keep(self.reveal())

    def communicated(self: subprocess.Popen[Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as it is
        output = communicate(self, *args, **kwargs)
        for each in output:
            GATHERED.say(f"output of {self.args!r}", each)
        return output

    def read(self: pytest.CaptureFixture[Any]) -> Any:  # noqa: ANN401 - as it is
        captured = readouterr(self)
        for each in captured:
            GATHERED.say("captured", each)
        return captured

    Secret.__init__ = made  # type: ignore[method-assign]
    subprocess.Popen.communicate = communicated  # type: ignore[method-assign]
    pytest.CaptureFixture.readouterr = read  # type: ignore[method-assign]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave what one of several processes found for the run of the last test."""
    folder, factory = os.environ.get("SECRECY_FOLDER"), getattr(session.config, "_tmp_path_factory", None)
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if folder is None or worker is None or factory is None:
        return
    GATHERED.read(factory.getbasetemp())
    found = {"secrets": len(GATHERED.secrets), "found": list(GATHERED.found())}
    Path(folder, f"{worker}.json").write_text(json.dumps(found), "utf-8")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.passed:  # of one that failed, it shows everything
        for title, text in report.sections:
            GATHERED.say(f"{title} of {report.nodeid}", text)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the test that looks through everything be the last."""
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
