"""Drive a headless Chromium over its debugging pipe, where one is installed."""

import contextlib
import itertools
import json
import os
import shutil
import subprocess
from base64 import b64decode

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--remote-debugging-pipe",
]
KEYS = {"Enter": 13, "Escape": 27, "Tab": 9, "End": 35, "Home": 36, "PageDown": 34}
KEYS |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


class Chromium:
    """One tab. Messages are JSON that ends in a zero byte, on the descriptors 3 and 4."""

    def __init__(self, profile):
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()
        # A shell moves the ends to 3 and 4: the parent may use these numbers itself.
        call = f'exec "$@" 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", call, "sh", BROWSER, *OPTIONS, f"--user-data-dir={profile}"],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._numbers, self._rest, self._session = itertools.count(1), b"", None
        self.requests = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.problems = []

    def close(self):
        with contextlib.suppress(OSError):
            self.call("Browser.close")
        os.close(self._out)
        os.close(self._in)
        self._process.wait(30)

    def _message(self):
        while b"\0" not in self._rest:
            if not (more := os.read(self._in, 2**20)):
                raise OSError("the browser has ended")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def call(self, method, **params):
        number = next(self._numbers)
        body = {"id": number, "method": method, "params": params}
        body |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(body).encode() + b"\0")
        while (message := self._message()).get("id") != number:
            self._note(message)
        if "error" in message:
            raise AssertionError(message["error"])
        return message["result"]

    def _note(self, message):
        if message["method"] == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        if message["method"] == "Runtime.exceptionThrown":
            self.problems.append(message["params"]["exceptionDetails"])
        if message["method"] == "Log.entryAdded":
            self.problems.append(message["params"]["entry"])

    def open(self, url):
        self.call("Page.navigate", url=url)

    def js(self, expression):
        """Return the value of an expression, or of its promise."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression):
        """Wait until an expression is true, at each frame; the test's time limit ends the wait."""
        loop = f"const look = () => ({expression}) ? done() : requestAnimationFrame(look); look()"
        self.js(f"new Promise((done) => {{ {loop} }})")

    def press(self, *keys):
        for key in keys:
            named = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS.get(key, 0)}
            text = {"text": "\r"} if key == "Enter" else {} if key in KEYS else {"text": key}
            self.call("Input.dispatchKeyEvent", type="keyDown", **named, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **named)

    def screenshot(self, path, *, scheme):
        """Write a PNG of the window in the colour scheme `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        path.write_bytes(b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
