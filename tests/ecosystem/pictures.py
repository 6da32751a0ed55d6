"""Run by a Python that has playwright: pages of a Home Assistant, as one who has logged in sees them, as pictures.

On standard input: {"url", "access", "refresh", "pages": {page: {"file", "height"}}}. On standard output: what is
written on each page, {page: [texts]}.
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Page, Route, sync_playwright

_WIDTH = 1200
_WITHIN_MS = 60_000
_SETTLES_MS = 4_000
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
_READY = """() => {
  const app = document.querySelector("home-assistant");
  const known = app?.hass?.connected && Object.keys(app.hass.states ?? {}).length;
  return known && !document.querySelector("#ha-launch-screen");
}"""
_TEXTS = """() => {
  const found = new Set();
  const walk = (node) => {
    if (node.shadowRoot) walk(node.shadowRoot);
    for (const child of node.childNodes)
      if (child.nodeType !== 3) walk(child);
      else if (!["STYLE", "SCRIPT"].includes(child.parentNode.nodeName)) found.add(child.data.trim());
  };
  walk(document.querySelector("home-assistant"));
  return [...found];
}"""


def main() -> None:
    wanted = json.load(sys.stdin)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(_OPTIONS))
        context = browser.new_context(viewport={"width": _WIDTH, "height": 800}, color_scheme="light")
        context.route("**/*", _stay_here)
        context.add_init_script(f"Object.assign(localStorage, {json.dumps(_login(wanted))})")
        page = context.new_page()
        print(json.dumps({path: _take(page, wanted["url"] + path, **how) for path, how in wanted["pages"].items()}))
        browser.close()


def _login(wanted: dict[str, Any]) -> dict[str, str]:
    tokens = {
        "hassUrl": wanted["url"],
        "clientId": f"{wanted['url']}/",
        "access_token": wanted["access"],
        "refresh_token": wanted["refresh"],
        "token_type": "Bearer",
        "expires_in": 1800,
        "expires": 4102444800000,
    }
    return {"hassTokens": json.dumps(tokens), "selectedLanguage": '"en"', "dockedSidebar": '"always_hidden"'}


def _stay_here(route: Route) -> None:
    """Let nothing leave the machine."""
    if urlsplit(route.request.url).hostname == "127.0.0.1":
        route.continue_()
    else:
        route.abort()


def _take(page: Page, url: str, file: str, height: int) -> list[str]:
    page.set_viewport_size({"width": _WIDTH, "height": height})
    page.goto(url)
    page.wait_for_function(_READY, timeout=_WITHIN_MS)
    page.wait_for_timeout(_SETTLES_MS)  # cards and graphs come one after the other; nothing tells the last
    page.screenshot(path=file)
    found: list[str] = page.evaluate(_TEXTS)
    return found


if __name__ == "__main__":
    main()
