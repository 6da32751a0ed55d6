"""Who may read the page: name and password, wrong ones slowed down, and no page of another site."""

from __future__ import annotations

import base64
import time
from collections import OrderedDict
from ipaddress import ip_address

from aiohttp import web

from bridge.common.models import Secret
from bridge.panels.code_lock import LOCK_S, CodeLock, Verdict

INGRESS = "172.30.32.2"
"""Home Assistant's ingress, which has checked its user."""
_MOST_ADDRESSES = 1000
"""Whose wrong passwords are counted; beyond it, the oldest is forgotten."""
_LOCAL_NAMES = ("localhost", "")


class Access:
    """Decides on each request. `login` is `name:password`; None: everybody who can connect may read."""

    def __init__(self, login: Secret | None) -> None:
        self._login = login
        self._locks: OrderedDict[str, CodeLock] = OrderedDict()

    def check(self, request: web.Request) -> None:
        """Raise an HTTPException where the sender may not read."""
        if request.method not in ("GET", "HEAD"):
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "HEAD"))
        if request.remote == INGRESS:
            return
        if self._login is None:
            _check_host(request)
            return
        self._check_login(request.remote or "", request.headers.get("Authorization"), self._login)

    def _check_login(self, address: str, given: str | None, login: Secret) -> None:
        found = self._locks.get(address) or CodeLock(login)
        now = time.monotonic()
        if found.locked(now):
            raise web.HTTPTooManyRequests(headers={"Retry-After": f"{LOCK_S:.0f}"})
        asked = web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Basic realm="sosbridge", charset="UTF-8"'})
        if given is None:  # what a browser begins with
            raise asked
        if found.check(_decoded(given), disarms=True, now=now) is Verdict.OK:
            self._locks.pop(address, None)
            return
        self._locks[address] = found
        self._locks.move_to_end(address)
        if len(self._locks) > _MOST_ADDRESSES:
            self._locks.popitem(last=False)
        raise asked


def _decoded(header: str) -> Secret | None:
    scheme, _, value = header.partition(" ")
    try:
        return Secret(base64.b64decode(value, validate=True).decode()) if scheme.lower() == "basic" else None
    except ValueError:
        return None


def _check_host(request: web.Request) -> None:
    """Refuse names that another site may have pointed at this machine: its scripts could read the page."""
    host = request.host.rpartition(":")[0] or request.host
    host = host if host.startswith("[") == host.endswith("]") else request.host
    if host in _LOCAL_NAMES:
        return
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        text = "use the address, such as http://127.0.0.1:8099, or set web.username and web.password\n"
        raise web.HTTPForbidden(text=text) from None
