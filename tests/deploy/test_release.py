"""What a release consists of: one version, notes, the branch of the add-on repository, pinned tools and bases."""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from deploy.kit import TOP, run

from bridge import __version__

ADDON = TOP / "homeassistant/addon"
REPOSITORY = "https://github.com/sosbridge/sosbridge"
CHANGELOG = ADDON / "CHANGELOG.md"
NOTES = CHANGELOG.read_text("utf-8")
WORKFLOWS = sorted((TOP / ".github/workflows").glob("*.yaml"))


def test_one_version() -> None:
    assert re.findall(r"^## (\S+)$", NOTES, re.MULTILINE)[0] == __version__
    assert f"\nversion: {__version__}\n" in (ADDON / "config.yaml").read_text()


def test_the_notes_are_cut_out_of_the_changelog() -> None:
    notes = run(TOP / "deploy/notes", __version__)
    assert notes.startswith("### Upgrade\n")
    assert "## 0.1.0" not in notes
    assert run(TOP / "deploy/notes", "0.1.0") == "First release.\n"
    run(TOP / "deploy/notes", "9.9.9", status=1)


@pytest.mark.parametrize(("name", "size"), [("icon", (128, 128)), ("logo", (250, 100))])
def test_pictures_of_the_add_on(name: str, size: tuple[int, int]) -> None:
    data = (ADDON / f"{name}.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == size
    assert len(data) < 20_000


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository with what the branch is made of, committed."""
    shutil.copytree(TOP / "homeassistant", tmp_path / "homeassistant", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(TOP / "LICENSE", tmp_path)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "config", "user.name", "A")
    git(tmp_path, "config", "user.email", "a@example.com")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "all")
    return tmp_path


def git(folder: Path, *words: str) -> str:
    return run("git", "-C", folder, *words)


def test_the_branch_of_the_add_on_repository(clone: Path) -> None:
    assert run(clone / "homeassistant/publish-addon") == f"addon: sosbridge {__version__}\n"
    files = git(clone, "ls-tree", "-r", "--name-only", "addon").splitlines()
    shipped = [path.relative_to(ADDON) for path in ADDON.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sorted(files) == sorted(
        ["LICENSE", "README.md", "repository.yaml", *(f"sosbridge/{path}" for path in shipped)]
    )
    assert {"config.yaml", "CHANGELOG.md", "DOCS.md", "Dockerfile", "icon.png", "logo.png", "run.py"} <= set(
        map(str, shipped)
    )
    assert git(clone, "show", f"addon:sosbridge/{CHANGELOG.name}") == NOTES
    assert git(clone, "status", "--porcelain") == ""
    assert git(clone, "rev-parse", "--abbrev-ref", "HEAD") == "main\n"


def test_the_branch_grows_with_releases_only(clone: Path) -> None:
    publish = clone / "homeassistant/publish-addon"
    run(publish)
    first = git(clone, "rev-parse", "addon")
    assert run(publish) == "addon: nothing has changed\n"
    assert git(clone, "rev-parse", "addon") == first
    config = clone / "homeassistant/addon/config.yaml"
    config.write_text(config.read_text().replace(f"version: {__version__}", "version: 9.9.9"))
    assert run(publish) == "addon: nothing has changed\n"  # it is not committed
    git(clone, "commit", "-q", "-a", "-m", "release")
    assert run(publish) == "addon: sosbridge 9.9.9\n"
    assert git(clone, "rev-parse", "addon^") == first


def test_the_branch_continues_that_of_the_origin(clone: Path, tmp_path: Path) -> None:
    run(clone / "homeassistant/publish-addon")
    other = tmp_path / "other"
    run("git", "clone", "-q", "-b", "main", clone, other)
    assert run(other / "homeassistant/publish-addon") == "addon: nothing has changed\n"
    assert git(other, "rev-parse", "addon") == git(clone, "rev-parse", "addon")


def test_the_buttons_lead_to_what_there_is() -> None:
    text = "".join(path.read_text("utf-8") for path in (TOP / "homeassistant").rglob("*.md"))
    links = set(re.findall(r"https://my\.home-assistant\.io/redirect/[^)\s>]+", text))
    found: dict[str, set[str]] = {}
    for link in links:
        parts = urlsplit(link)
        ((name, [value]),) = parse_qs(parts.query).items()
        found.setdefault(f"{parts.path.split('/')[2]} {name}", set()).add(value)
    blueprints = (TOP / "homeassistant/blueprints").rglob("*.yaml")
    shipped = {f"{REPOSITORY}/blob/main/{path.relative_to(TOP)}" for path in blueprints}
    assert found == {
        "supervisor_add_addon_repository repository_url": {f"{REPOSITORY}#addon"},
        "blueprint_import blueprint_url": shipped,
    }


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text())
    assert used
    loose = [each for each in used if not re.fullmatch(r"\S+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+", each)]
    assert [each for each in loose if not each.startswith("./")] == []


def test_one_commit_for_one_action() -> None:
    used = {each for path in WORKFLOWS for each in re.findall(r"uses: (\S+@.*)", path.read_text())}
    assert len({each.split("@")[0] for each in used}) == len(used)


def test_the_base_image_is_pinned_by_digest() -> None:
    text = (TOP / "deploy/Dockerfile").read_text()
    [base] = re.findall(r"^ARG BASE_IMAGE=(\S+)$", text, re.MULTILINE)
    assert re.fullmatch(r"docker\.io/library/python:3\.13-slim-trixie@sha256:[0-9a-f]{64}", base)
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE_IMAGE}"}


@pytest.mark.parametrize("name", ["compose.yaml", "cluster/compose.yaml"])
def test_images_of_others_have_a_version(name: str) -> None:
    text = (TOP / "deploy" / name).read_text()
    images = [each for each in re.findall(r"image: (?:\$\{\w+:-)?([^\s}]+)", text) if not each.startswith("sosbridge:")]
    assert images
    assert [each for each in images if not re.search(r"/[a-z/-]+:\d[\w.-]*(@sha256:[0-9a-f]{64})?$", each)] == []


def test_only_the_dockerfile_names_the_base_image() -> None:
    compose = yaml.safe_load((TOP / "deploy/compose.yaml").read_text())
    assert compose["services"]["bridge"]["build"]["args"] == {"BASE_IMAGE": None}


def test_renovate_moves_what_is_pinned() -> None:
    config = json.loads((TOP / ".github/renovate.json").read_text())
    assert {"dockerfile", "docker-compose", "github-actions"} <= set(config["enabledManagers"])
    assert "docker:pinDigests" in config["extends"]
    [manager] = config["customManagers"]
    [pattern] = manager["managerFilePatterns"]
    files = [path.relative_to(TOP) for path in WORKFLOWS if re.search(pattern.strip("/"), str(path.relative_to(TOP)))]
    [versions] = manager["matchStrings"]
    found = [
        match for path in files for match in re.finditer(versions.replace("(?<", "(?P<"), (TOP / path).read_text())
    ]
    assert {match["depName"] for match in found} >= {"build", "twine"}


def test_an_image_is_tagged_only_after_it_was_scanned_and_started() -> None:
    jobs = yaml.safe_load((TOP / ".github/workflows/publish.yaml").read_text())["jobs"]
    steps = [step.get("name", step.get("uses", "")).split("@")[0] for step in jobs["image"]["steps"]]
    order = ["docker/build-push-action", "Each architecture starts", "anchore/scan-action", "Tag what was proved"]
    assert [step for step in steps if step in order] == order
    push = next(step for step in jobs["image"]["steps"] if step.get("id") == "push")
    assert "push-by-digest=true" in push["with"]["outputs"]
    assert "tags" not in push["with"]
    for name in ("pypi", "addon", "notes"):
        assert "image" in jobs[name]["needs"], name
