"""deploy/commands.md says what the parser does."""

from __future__ import annotations

from docs.commands import PAGE, page


def test_the_page_is_that_of_the_parser() -> None:
    assert PAGE.read_text("utf-8") == page(), "python tests/docs/commands.py writes it"
