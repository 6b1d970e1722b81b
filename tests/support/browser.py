"""A headless Chromium for tests, by chromedriver's own protocol: WebDriver and DevTools over HTTP."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Union

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")


class Browser:
    """A tab of a browser."""

    def __init__(self, server: str) -> None:
        self.server = server
        options = {
            "binary": CHROMIUM,
            "args": ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        }
        capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        answer = self._post("/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.server = f"{server}/session/{answer['sessionId']}"

    def open(self, page: Union[Path, str], *, width: int, dark: bool = False) -> None:
        """Show a file, or what is at a URL, in a window that is so many pixels wide."""
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", {"features": [scheme]})
        self._post("/url", {"url": page if isinstance(page, str) else page.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """What a JavaScript function's body returns in the page."""
        return self._post("/execute/sync", {"script": script, "args": []})

    def wait(self, condition: str, *, seconds: float = 20.0) -> None:
        """Wait until a JavaScript expression is true in the page; an assertion where it does not become so."""
        end = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, f"{condition} did not become true"
            time.sleep(0.05)

    def choose_file(self, selector: str, *paths: Path) -> None:
        """Choose files in an input of the page, as a person does in the dialogue."""
        root = self.devtools("DOM.getDocument", {})["root"]["nodeId"]
        node = self.devtools("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
        self.devtools("DOM.setFileInputFiles", {"nodeId": node, "files": [str(path.resolve()) for path in paths]})

    def press(self, key: str) -> None:
        """Press a key that is a character."""
        for kind in ("keyDown", "keyUp"):
            self.devtools("Input.dispatchKeyEvent", {"type": kind, "key": key, "text": key})

    def console(self) -> list[str]:
        """What the browser had to say of the page: errors, and what its security policy refused."""
        return [entry["message"] for entry in self._post("/se/log", {"type": "browser"})]

    def screenshot(self, place: Path) -> None:
        """A picture of the whole page."""
        size = self.devtools("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        taken = self.devtools("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        place.write_bytes(base64.b64decode(taken["data"]))

    def close(self) -> None:
        request = urllib.request.Request(self.server, method="DELETE")
        urllib.request.urlopen(request, timeout=60).close()

    def devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _post(self, path: str, content: dict[str, Any]) -> Any:
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.server + path, json.dumps(content).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser that is ended with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen([CHROMEDRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{server}/status", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        browser = Browser(server)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        driver.wait(timeout=30)
