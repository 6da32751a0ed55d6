"""`sosbridge backup` beside the running bridge, and `restore-backup` on the same machine and on another."""

from __future__ import annotations

import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from support.harness import PASSWORD, Site, live


async def _save(site: Site) -> Path:
    """Make a backup of a running bridge that has a rotated password and two alarms waiting."""
    await site.start()
    assert (await site.do("auth/rotate"))["outcome"] == "accepted"
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"  # the new password counts from here on
    await site.primary.stop()
    await site.secondary.stop()
    for reference in ("one", "two"):
        await site.send("alarm/raise", {"event_code": "FA", "reference": reference})
    await site.mqtt.wait("transmitter/home/outbox", lambda value: value["pending"] == 2)
    file = site.folder / "backup.tar"
    done = await site.bridge.command("backup", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert "contains 2 pending commands and the passwords of 1 transmitter" in done.stdout
    return file


def _is_ours(value: dict[str, str]) -> bool:
    return "reference" in value


def _forget(site: Site) -> None:
    """Make the folder that of another machine."""
    site.store.unlink()
    shutil.rmtree(site.folder / "bridge.passwords")


def _came_from_elsewhere(file: Path) -> None:
    """Let the commands of a backup be of the boot of another machine."""
    folder = file.with_suffix("")
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")
    [database] = folder.glob("*.db")
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("UPDATE command SET boot = 'of another machine', steady = 5")
    with tarfile.open(file, "w") as archive:
        for each in sorted(folder.rglob("*")):
            if each.is_file():
                archive.add(each, str(each.relative_to(folder)))


@live
async def test_a_backup_is_the_bridge_on_another_machine(site: Site) -> None:
    site.home["max_age"] = "1m"  # the other machine has run for longer, which says nothing about the alarms
    file = await _save(site)
    assert file.stat().st_mode & 0o777 == 0o600
    assert await site.bridge.stop() == 0
    _forget(site)
    _came_from_elsewhere(file)
    done = await site.bridge.command("restore-backup", "--pending", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.stat().st_mode & 0o777 for path in site.folder.glob("bridge.db*")} == {0o600}
    await site.primary.start()
    mark = site.mqtt.mark
    await site.start()
    results = await site.mqtt.wait_all(
        "transmitter/home/alarm/response", 2, lambda value: "reference" in value, after=mark
    )
    assert [seen.value["outcome"] for seen in results] == ["accepted", "accepted"]
    assert sorted(str(each.reference) for each in site.received()[1:]) == ["one", "two"]
    assert site.received()[-1].authentication.reveal() != PASSWORD


@live
async def test_a_newer_password_and_the_store_that_was_there_are_kept(site: Site) -> None:
    file = await _save(site)
    await site.primary.start()
    await site.mqtt.wait("transmitter/home/outbox", lambda value: value["pending"] == 0, after=site.mqtt.mark)
    assert (await site.do("auth/rotate"))["outcome"] == "accepted"
    assert (await site.do("alarm/raise", "BA"))["outcome"] == "accepted"
    [file_of_passwords] = (site.folder / "bridge.passwords").glob("*.json")
    newest = file_of_passwords.read_bytes()
    assert await site.bridge.stop() == 0
    done = await site.bridge.command("restore-backup", "--pending", str(file))
    assert done.returncode == 0, done
    assert f"passwords/{file_of_passwords.name} exists and was not replaced" in done.stdout
    [kept] = site.folder.glob("bridge.db.replaced-*")
    assert f"is kept as {kept.name}" in done.stdout
    assert file_of_passwords.read_bytes() == newest
    mark = site.mqtt.mark
    await site.start()
    results = await site.mqtt.wait_all(
        "transmitter/home/alarm/response", 2, lambda value: "reference" in value, after=mark
    )
    assert {seen.value["outcome"] for seen in results[:2]} <= {"accepted", "duplicate"}, "sent again, and known"


@live
async def test_what_was_pending_is_not_sent_unasked(site: Site) -> None:
    """A backup may be old: each alarm of it is sent when a person says so, a commanded ping never."""
    file = await _save(site)
    assert await site.bridge.stop() == 0
    _forget(site)
    done = await site.bridge.command("restore-backup", str(file))
    assert "what was pending is not sent" in done.stdout
    await site.primary.start()
    mark = site.mqtt.mark
    await site.start()
    outbox = await site.mqtt.wait("transmitter/home/outbox", after=mark)
    assert (outbox.value["pending"], outbox.value["rejected"]) == (0, 2)
    assert (await site.do("alarm/raise", {"event_code": "PA", "reference": "new"}))["outcome"] == "accepted"
    assert site.received()[-1].reference == "new"
    assert not {"one", "two"} & {each.reference for each in site.received()}
    listed = (await site.bridge.command("outbox", "list")).stdout
    assert listed.count("not sent: it was pending when the backup was made") == 2
    assert (await site.bridge.command("outbox", "retry", listed.splitlines()[-1].split()[0])).returncode == 0
    assert (await site.result(lambda value: value.get("reference") in ("one", "two")))["outcome"] == "accepted"


@live
async def test_a_running_bridge_is_in_the_way(site: Site) -> None:
    file = await _save(site)
    done = await site.bridge.command("restore-backup", str(file))
    assert done.returncode == 3
    assert "in use by a running sosbridge" in done.stderr


@live
async def test_a_file_is_never_written_over(site: Site) -> None:
    file = await _save(site)
    before = file.read_bytes()
    done = await site.bridge.command("backup", str(file))
    assert done.returncode == 1
    assert "File exists" in done.stderr
    assert file.read_bytes() == before
    left = {path.name for path in site.folder.iterdir() if path.name.startswith(".")}
    assert left == set()


@live
async def test_what_is_no_whole_backup_changes_nothing(site: Site) -> None:
    file = await _save(site)
    assert await site.bridge.stop() == 0
    whole = file.read_bytes()
    before = site.store.read_bytes()
    with tarfile.open(file) as archive:
        members = {member.name: member.offset_data for member in archive}
    database = members["sosbridge.db"]
    damaged = whole[: database + 8192] + b"\xa5" * 4096 + whole[database + 12288 :]
    wrong = (b"", b"notes" * 1000, whole[: database - 512], whole[: database + 9000], damaged)
    for number, content in enumerate(wrong):
        broken = site.folder / f"broken{number}.tar"
        broken.write_bytes(content)
        done = await site.bridge.command("restore-backup", str(broken))
        assert done.returncode == 1, number
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr
        assert site.store.read_bytes() == before
    assert list(site.folder.glob("bridge.db.*")) == [site.folder / "bridge.db.lock"]


@live
@pytest.mark.parametrize("name", ["nowhere/backup.tar", "."])
async def test_where_nothing_can_be_written_it_is_told(site: Site, name: str) -> None:
    await site.start()
    done = await site.bridge.command("backup", str(site.folder / name))
    assert done.returncode == 1
    assert done.stderr.startswith("sosbridge: the backup ")


@live
async def test_without_a_store_there_is_no_backup(site: Site) -> None:
    site.launch()
    site.bridge.kill()
    site.settings["store"]["path"] = str(site.folder / "other.db")
    site.launch()
    site.bridge.kill()
    (site.folder / "other.db").unlink(missing_ok=True)
    done = await site.bridge.command("backup", str(site.folder / "backup.tar"))
    assert done.returncode == 1
    assert "no store at" in done.stderr
