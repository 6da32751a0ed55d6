"""Citations in code, scripts and settings lead to a heading of a document in this repository.

A citation is `(PROTOCOL.md, Failover)`: a document and a heading without its number. Headings are separated by commas
or `and`; after a semicolon come more headings, another document, or words in small letters. The document is the nearest
one: beside the file, in a folder above it, in `bridge`; a test of a package cites what the package cites. From
elsewhere, write `(g90/PROTOCOL.md, Pagination)`.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
FOLDERS = (".ci", ".github", "bridge", "deploy", "homeassistant", "tests")
NOT_READ = re.compile(r"^tests/(fuzz/corpus|homeassistant/snapshots)/|\.(md|png|pyc)$|/test_citations\.py$")
CITING = re.compile(r"\(([^()]*\.md\b[^()]*)\)")
DOCUMENT = re.compile(r"(?<![\w./*-])[\w.][\w./-]*\.md\b")
NOT_IN_THE_REPOSITORY = re.compile(
    r"\b[Tt]he seed\b|\(seed[,:;]|\b(?:protocol|architecture|design) page\b|\bMQTT contract\b"
)


def _names() -> list[str]:
    inside = (path for folder in FOLDERS for path in (TOP / folder).rglob("*"))
    paths = (path for path in (TOP / "README.md", TOP / "pyproject.toml", *inside) if path.is_file())
    return sorted(str(path.relative_to(TOP)) for path in paths)


NAMES = _names()
DOCUMENTS = [name for name in NAMES if name.endswith(".md")]
FILES = [name for name in NAMES if not NOT_READ.search(name)]


def text(name: str) -> str:
    """Return a file's text on one line: a citation may be wrapped in a docstring or a comment."""
    return re.sub(r"\s*\n\s*(?:#+ )?", " ", (TOP / name).read_text("utf-8", "replace"))


def nearest(document: str, citing: str) -> Path | None:
    """Return the document that is meant in the file `citing`; None if there is none."""
    folders = [folder for folder in (TOP / citing).parents if folder.is_relative_to(TOP)]
    if citing.startswith("tests/"):
        folders.insert(0, TOP / "bridge" / Path(citing).parts[1])
    return next((found for folder in (*folders, TOP / "bridge") if (found := folder / document).is_file()), None)


@cache
def headings(document: Path) -> set[str]:
    prose = re.sub(r"```.*?```", "", document.read_text("utf-8"), flags=re.DOTALL)
    return set(re.findall(r"^#+ (?:[\d.]+ )?(.*)$", prose, re.MULTILINE))


def citation_faults(citing: str, citation: str) -> list[str]:
    """Return what is wrong with what stands between parentheses and names a document."""
    found, document = [], None
    for clause in citation.split("; "):
        cited = clause.split(", ")
        if DOCUMENT.fullmatch(cited[0]):
            name = cited.pop(0)
            document = nearest(name, citing)
            if document is None:
                found.append(f"({citation}): no {name} near it; write its folder as well, as in sos_access/{name}")
        elif clause[0].islower():
            continue
        if document is not None:
            known = headings(document)
            parts = [part for each in cited for part in ([each] if each in known else each.split(" and "))]
            found += [f"({citation}): {name} has no heading {part!r}" for part in parts if part not in known]
    return found


def faults(name: str) -> list[str]:
    content = text(name)
    found = [f"not in the repository: {words!r}" for words in NOT_IN_THE_REPOSITORY.findall(content)]
    if name in DOCUMENTS:  # their links are followed in test_links.py
        return found
    missing = {
        cited for cited in DOCUMENT.findall(content) if not any(f"/{d}".endswith(f"/{cited}") for d in DOCUMENTS)
    }
    found += [f"no document {cited}" for cited in sorted(missing)]
    return found + [fault for citation in CITING.findall(content) for fault in citation_faults(name, citation)]


@pytest.mark.parametrize("name", [*FILES, *DOCUMENTS])
def test_citations(name: str) -> None:
    assert faults(name) == []


def test_there_are_citations_to_follow() -> None:
    assert any(citation_faults(name, citation) == [] for name in FILES for citation in CITING.findall(text(name)))


@pytest.mark.parametrize(
    "citation",
    ["PROTOCOL.md, Failover", "sos_access/PROTOCOL.md, Failover, Nothing", "TOPICS.md, Rules; Nothing", "NOTHING.md"],
)
def test_a_wrong_citation_is_found(citation: str) -> None:
    assert citation_faults("bridge/common/clock.py", citation)
