"""A registry that fails once fails no run: what the scripts install, they install through `download`."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from deploy.kit import TOP

SCRIPTS = [".ci/run", "tests/environment", *(str(path.relative_to(TOP)) for path in (TOP / "tests").rglob("run"))]
FETCHES = re.compile(
    r"pip\"? (install|download|wheel)|npm (install|ci)|apt-get|pipx\"? install|-m build|-m pip|git clone .*https"
)


def install(folder: Path, failures: int) -> subprocess.CompletedProcess[str]:
    """Run `download pip install` with a pip that fails `failures` times, each with an error."""
    pip = folder / "pip"
    pip.write_text(f"""#!/bin/sh
echo "$*" >>{folder}/calls
echo downloading
[ "$(wc -l <{folder}/calls)" -gt {failures} ] || {{ echo 'ReadTimeoutError: Read timed out.' >&2; exit 2; }}
""")
    pip.chmod(0o755)
    script = f"set -eu; . tests/downloads; DOWNLOAD_PAUSE_S=0; download {pip} install 'a package'; echo installed"
    return subprocess.run(["bash", "-c", script], cwd=TOP, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_download_that_fails_is_repeated(tmp_path: Path, failures: int) -> None:
    done = install(tmp_path, failures)
    assert done.stdout == "installed\n"
    assert done.returncode == 0
    assert (tmp_path / "calls").read_text() == "install a package\n" * (failures + 1)
    assert done.stderr.count("ReadTimeoutError: Read timed out.") == failures


def test_it_ends_with_the_third_failure_and_shows_each(tmp_path: Path) -> None:
    done = install(tmp_path, 9)
    assert (done.stdout, done.returncode) == ("", 2)
    assert (tmp_path / "calls").read_text().count("\n") == 3
    assert done.stderr.count("downloading\nReadTimeoutError: Read timed out.\n") == 3
    assert f"status 2 in attempt 3 of 3: {tmp_path}/pip install a package\n" in done.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_scripts_install_nothing_without_it(script: str) -> None:
    lines = [line for line in (TOP / script).read_text().splitlines() if not line.lstrip().startswith("#")]
    fetching = [line for line in lines if FETCHES.search(re.split("lacks |echo ", line)[0])]
    assert [line for line in fetching if "download " not in line and "--no-build-isolation" not in line] == []


def test_the_workflows_either() -> None:
    texts = [path.read_text() for path in (TOP / ".github/workflows").glob("*.yaml")]
    fetching = [line for text in texts for line in text.splitlines() if FETCHES.search(line)]
    assert [line for line in fetching if "download " not in line] == []
