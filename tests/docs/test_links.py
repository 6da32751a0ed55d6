"""Links between our documents lead to files and headings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
    "bridge/README.md",
    "bridge/TOPICS.md",
    "bridge/g90/PROTOCOL.md",
    "bridge/sos_access/PROTOCOL.md",
    "deploy/README.md",
    "deploy/settings.md",
    "homeassistant/README.md",
    "tests/README.md",
)


def anchors(path: Path) -> set[str]:
    """Return the fragments that GitHub makes of a document's headings."""
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(document: str) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", (TOP / document).read_text("utf-8"))
    return sorted({link for link in found if "://" not in link})


@pytest.mark.parametrize(("document", "link"), [(document, link) for document in DOCUMENTS for link in links(document)])
def test_links_lead_somewhere(document: str, link: str) -> None:
    name, _, fragment = link.partition("#")
    target = ((TOP / document).parent / name).resolve() if name else TOP / document
    assert target.exists()
    assert not fragment or fragment in anchors(target)
