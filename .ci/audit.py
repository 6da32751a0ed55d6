"""What no test of ours can know: published weaknesses of what is installed, and secrets that got into a commit.

Run by `.ci/run` with a Python that has pip-audit and detect-secrets. Weaknesses are asked for online: where nobody
answers, that is said, and is no failure. What looks like a secret and is none stands in `.ci/no-secrets`; write it
anew, after a look at each, with `--accept`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path("deploy/requirements-cluster.txt")  # those of requirements.txt, and the driver of PostgreSQL
ACCEPTED = Path(".ci/no-secrets")


def output(*command: str) -> str:
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False).stdout  # noqa: S603


def weaknesses() -> list[str]:
    """Return what is known of the versions that are installed."""
    answer = output("pip_audit", "--format", "json", "--disable-pip", "--requirement", str(REQUIREMENTS))
    known = [each for each in json.loads(answer or "{}").get("dependencies", []) if "vulns" in each]
    if known:
        print(f"pip-audit: {len(known)} packages looked up")
    else:
        print("pip-audit was not run: the service that knows of weaknesses is not reachable")
    return [f"{each['name']} {each['version']}: {weak['id']}" for each in known for weak in each["vulns"]]


def lookalikes() -> list[str]:
    """Return what looks like a secret, in the files that are committed: the file, and a hash of it.

    Not in tests: their passwords are invented, and searched for in all that the product says.
    """
    found = json.loads(output("detect_secrets", "scan", "--exclude-files", "^tests/"))["results"]
    return sorted({f"{name} {each['hashed_secret']}" for name, secrets in found.items() for each in secrets})


def main() -> int:
    found = lookalikes()
    if "--accept" in sys.argv:
        ACCEPTED.write_text("\n".join(found) + "\n")
        return 0
    accepted = ACCEPTED.read_text().splitlines()
    faults = weaknesses() + [f"looks like a secret: {each}" for each in found if each not in accepted]
    print(f"detect-secrets: {len(found)} lookalikes, {sum(each in accepted for each in found)} of them accepted")
    print("\n".join(faults))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
