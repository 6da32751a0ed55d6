"""What 0.1.0 left is taken over: its store, and its passwords."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from support.harness import Site, live

_TESTS = Path(__file__).parents[1]


@live
async def test_store_and_passwords_of_0_1_0_are_taken_over(site: Site) -> None:
    """An alarm that waits goes out, with the password of the last rotation."""
    with closing(sqlite3.connect(site.store)) as db:
        db.executescript((_TESTS / "store" / "stores" / "v3.sql").read_text("utf-8"))
        db.execute("UPDATE command SET accepted_at = ?, boot = ''", (time.time() - 5,))
        panel = {"state": json.loads((_TESTS / "g90" / "state_v1.json").read_text("utf-8")), "forwarded": []}
        db.execute("UPDATE panel SET content = ?", (json.dumps(panel),))
        db.commit()
    folder = site.folder / "bridge.passwords"
    folder.mkdir(mode=0o700)
    (folder / "home.json").write_bytes((_TESTS / "store" / "passwords" / "v0.1.0.json").read_bytes())
    (folder / "home.json").chmod(0o600)
    site.home["authentication"] = "1" * 15
    site.home["max_age"] = "1m"  # this machine has run for longer: 0.1.0 did not note of which boot an alarm is
    site.set_password("2" * 15)
    await site.start()
    assert (await site.result(lambda value: value.get("event_code") == "BA"))["outcome"] == "accepted"
    assert (await site.do("alarm/raise", "FA"))["outcome"] == "accepted"
    assert [each.authentication.reveal()[0] for each in site.received()] == ["2", "2"]
    assert [each.event_code for each in site.received()] == ["BA", "FA"]
    [file] = folder.iterdir()
    assert file.name != "home.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert not list(site.folder.glob("bridge.db.damaged*"))
