"""A real Node-RED on loopback: flows are deployed, buttons pressed, what its debug nodes show is kept."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from support.brokers import free_port
from websockets.asyncio.client import ClientConnection, connect

_WAIT_S = 60.0
_SETTINGS = """
module.exports = {
  uiHost: "127.0.0.1", uiPort: %d, flowFile: "flows.json", credentialSecret: "tests",
  telemetry: {enabled: false, updateNotification: false}, editorTheme: {tours: false},
  logging: {console: {level: "info"}}
};
"""


class NodeRed:
    """The release that the setting NODE_RED names, the path of its `red.js`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.shown: list[dict[str, Any]] = []
        """What debug nodes have shown: `name`, and `msg` as text."""
        self.connected: set[str] = set()
        """The nodes whose status says so."""
        self._changed = asyncio.Condition()
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        (self.folder / "settings.js").write_text(_SETTINGS % self.port)
        node = shutil.which("node")
        assert node, "node is not installed"
        self._launch([node, os.environ["NODE_RED"], "--userDir", str(self.folder)])
        async with asyncio.timeout(_WAIT_S):
            while not (socket := await self._socket()):  # noqa: ASYNC110 - it is asked anew
                await asyncio.sleep(0.2)
        self._reader = asyncio.create_task(self._read(socket))
        return self

    def _launch(self, command: list[str]) -> None:
        with (self.folder / "output.log").open("ab") as output:
            environment = {**os.environ, "HOME": str(self.folder), "NO_UPDATE_NOTIFIER": "1"}
            self._process = subprocess.Popen(command, stdout=output, stderr=output, env=environment, cwd=self.folder)

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._reader.cancel()
        await asyncio.wait([self._reader])
        assert self._process is not None
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, _WAIT_S)
        if kind is not None:
            print((self.folder / "output.log").read_text(errors="replace"))

    async def _socket(self) -> ClientConnection | None:
        try:
            socket = await connect(f"ws://127.0.0.1:{self.port}/comms", max_size=None)
        except OSError:
            return None
        for topic in ("debug", "status/#"):
            await socket.send(json.dumps({"subscribe": topic}))
        return socket

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            for told in json.loads(text):
                if told.get("topic") == "debug":
                    self.shown.append(told["data"])
                elif "connected" in str(told.get("data", {}).get("text", "")).split("."):
                    self.connected.add(told["topic"].removeprefix("status/"))
            async with self._changed:
                self._changed.notify_all()

    async def deploy(self, flows: list[dict[str, Any]]) -> None:
        """Put `flows` in place and wait until all its MQTT nodes are connected."""
        await self._post("flows", flows)
        wanted = {node["id"] for node in flows if node["type"] in ("mqtt in", "mqtt out")}
        await self.until(lambda: wanted <= self.connected, f"{wanted - self.connected} are connected")

    async def press(self, inject: str) -> None:
        """Press the button of an inject node."""
        await self._post(f"inject/{inject}", {})

    async def until(self, fits: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(_WAIT_S), self._changed:
                await self._changed.wait_for(fits)
        except TimeoutError:
            raise AssertionError(f"waited in vain until {what}; shown: {self.shown}") from None

    async def shows(self, name: str, *texts: str) -> None:
        """Wait until a debug node has shown something with all of `texts`."""
        await self.until(
            lambda: any(
                told.get("name") == name and all(text in str(told["msg"]) for text in texts) for told in self.shown
            ),
            f"{name} shows {texts}",
        )

    async def _post(self, path: str, content: object) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", json.dumps(content).encode())
        request.add_header("Content-Type", "application/json")
        await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=_WAIT_S).close())
