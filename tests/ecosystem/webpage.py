"""Run by a Python that has playwright: the status page, and what browser and axe-core complain of.

On standard input: {"url", "axe", "folder"}; then each line is the name of a picture to take, answered on standard
output by a line of JSON: {"texts", "console", "outside", "axe", "wide"}.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ecosystem.pictures import _OPTIONS
from playwright.sync_api import Browser, Page, sync_playwright

_LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "narrow": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
}
_SETTLES_MS = 3500
_LOADED_MS = 15_000
_AXE = """async () => (await axe.run()).violations
  .filter((each) => ["serious", "critical"].includes(each.impact))
  .map((each) => `${each.id}: ${each.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(" | ")}`)"""


class Look:
    """One open page, which stays open while the bridge's state changes."""

    def __init__(self, browser: Browser, url: str, axe: str, options: dict[str, Any]) -> None:
        self.console: list[str] = []
        self.outside: list[str] = []
        context = browser.new_context(**options)
        self.page: Page = context.new_page()
        self.page.on(
            "console", lambda each: self.console.append(each.text) if each.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        host = urlsplit(url).netloc
        self.page.on(
            "request", lambda each: None if urlsplit(each.url).netloc == host else self.outside.append(each.url)
        )
        self._axe = axe
        self.page.goto(url)

    def seen(self, picture: Path) -> dict[str, Any]:
        self.page.wait_for_selector(".card", timeout=_LOADED_MS)
        self.page.evaluate("scrollTo(0, 0)")
        self.page.wait_for_timeout(_SETTLES_MS)
        self.page.evaluate("scrollTo(0, 0)")  # again: what came meanwhile has moved it
        self.page.screenshot(path=str(picture))
        self.page.evaluate(self._axe)
        return {
            "text": self.page.inner_text("body"),
            "console": self.console,
            "outside": self.outside,
            "axe": self.page.evaluate(_AXE),
            "wide": self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"),
        }

    def keyboard(self) -> list[str]:
        """Return what the first presses of the tab key reach, from the page's beginning."""
        self.page.evaluate(
            "document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')"
        )
        reached = []
        for _ in range(8):
            self.page.keyboard.press("Tab")
            reached.append(
                self.page.evaluate("document.activeElement.tagName + ' ' + document.activeElement.className")
            )
        return reached


def main() -> None:
    wanted = json.loads(sys.stdin.readline())
    axe = Path(wanted["axe"]).read_text("utf-8")
    folder = Path(wanted["folder"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(_OPTIONS))
        looks = {name: Look(browser, wanted["url"], axe, options) for name, options in _LOOKS.items()}
        for line in sys.stdin:
            name = line.strip()
            found = {look: each.seen(folder / f"{name}-{look}.png") for look, each in looks.items()}
            print(json.dumps({"looks": found, "reached": looks["light"].keyboard()}), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
