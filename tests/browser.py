"""A headless Chromium that tests drive over a pipe, by its DevTools protocol."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--remote-debugging-pipe",
)  # fmt: skip
PIPED = (
    "import os, sys\n"
    "for end, number in zip(sys.argv[1:3], (3, 4)):\n"
    "    os.dup2(int(end), number)\n"
    "os.execvp(sys.argv[3], sys.argv[3:])\n"
)
"""Chromium reads file 3 and writes file 4, which may be taken in this process."""
SAID = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
KEYS = {
    "ArrowRight": 39, "ArrowLeft": 37, "ArrowDown": 40, "ArrowUp": 38, "Home": 36, "End": 35, " ": 32,
    "Tab": 9,    "Enter": 13, "Escape": 27, "Delete": 46, "PageUp": 33, "PageDown": 34,
}  # fmt: skip
MODIFIERS = {"alt": 1, "ctrl": 2, "shift": 8}
BUTTONS = {"left": 1, "right": 2, "middle": 4}


def program() -> str | None:
    """The browser of this machine, if it has one."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """One tab. `said` is what pages wrote to the console, and the requests that failed.

    `webgl` draws WebGL in software; without it pages have none.
    """

    def __init__(self, path: str, *, webgl: bool = False) -> None:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        (theirs_in, self._in), (self._out, theirs_out) = os.pipe(), os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (theirs_in, theirs_out)]
        drawn = "--enable-unsafe-swiftshader" if webgl else "--disable-3d-apis"
        command = [path, *FLAGS, drawn, f"--user-data-dir={self._folder.name}", "about:blank"]
        starter = [sys.executable, "-c", PIPED, *map(str, ends), *command]
        self._process = subprocess.Popen(starter, pass_fds=ends, stderr=subprocess.DEVNULL)
        for end in (theirs_in, theirs_out, *ends):
            os.close(end)
        self._asked, self._session, self._rest = 0, "", b""
        self.events: list[dict] = []
        tab = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    @property
    def process(self) -> int:
        """The number of the browser's process; its others are below it."""
        return self._process.pid

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        os.close(self._in)
        os.close(self._out)
        self._folder.cleanup()

    def ask(self, method: str, **params: object) -> dict:
        """Call the browser and wait for its answer; what it tells meanwhile is kept."""
        self._asked += 1
        call = {"id": self._asked, "method": method, "params": params}
        call |= {"sessionId": self._session} if self._session else {}
        os.write(self._in, json.dumps(call).encode() + b"\0")
        while True:
            told = self._told()
            if told.get("id") == self._asked:
                assert "error" not in told, told
                return told["result"]
            self.events.append(told)

    def _told(self) -> dict:
        while b"\0" not in self._rest:
            part = os.read(self._out, 1 << 20)
            assert part, "the browser has ended"
            self._rest += part
        first, _, self._rest = self._rest.partition(b"\0")
        return json.loads(first)

    def open(self, page: Path | str, *, width: int = 1280, height: int = 844, dark: bool = False) -> None:
        """Load a page, a file or an address, as a screen of this size shows it."""
        phone = width < 600
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=phone,
        )  # fmt: skip
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[theme])
        self.events.clear()
        self.ask("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._told())

    @property
    def said(self) -> list[dict]:
        """Errors, warnings and other lines of the page's console."""
        return [event for event in self.events if event["method"] in SAID]

    @property
    def requests(self) -> list[str]:
        """The addresses that the page has loaded, itself among them; pictures in it are none."""
        sent = [e["params"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        addresses = [one["request"]["url"] for one in sent]
        return [address for address in addresses if not address.startswith("data:")]

    def js(self, code: str) -> object:
        """The value of an expression in the page."""
        told = self.ask("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def press(self, key: str, *modifiers: str, times: int = 1) -> None:
        """A key, pressed and let go where the focus is; the modifiers are ctrl, shift and alt."""
        for _ in range(times):
            self.hold(key, *modifiers)
            self.release(key, *modifiers)

    def hold(self, key: str, *modifiers: str, again: bool = False) -> None:
        """A key, pressed and not let go; `again` as the keyboard repeats it while it is held."""
        typed = "\r" if key == "Enter" else key
        text = {"text": typed} if len(typed) == 1 and not {"ctrl", "alt"} & set(modifiers) else {}
        told = _key(key, modifiers)
        self.ask("Input.dispatchKeyEvent", type="keyDown", **told, **text, autoRepeat=again)

    def release(self, key: str, *modifiers: str) -> None:
        """A key that is held, let go."""
        self.ask("Input.dispatchKeyEvent", type="keyUp", **_key(key, modifiers))

    def mouse(self, kind: str, x: float, y: float, **told: object) -> None:
        """One event of the mouse: Pressed, Moved, Released, Wheel; `button` is left unless told."""
        button = str(told.pop("button", "none" if kind == "Wheel" else "left"))
        held = {} if kind in {"Released", "Wheel"} else {"buttons": BUTTONS.get(button, 0)}
        values = {"x": x, "y": y, "button": button, "clickCount": 1, **held, **told}
        self.ask("Input.dispatchMouseEvent", type=f"mouse{kind}", **values)

    def drag(self, *places: tuple[float, float], **told: object) -> None:
        """Press the mouse at the first place, move it over the others, let it go at the last."""
        self.mouse("Moved", *places[0], button="none")
        self.mouse("Pressed", *places[0], **told)
        for place in places[1:]:
            self.mouse("Moved", *place, **told)
        self.mouse("Released", *places[-1], **told)

    def picture(self, path: Path) -> None:
        """Save what the screen shows, as PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    def until(self, code: str, seconds: float = 60.0) -> None:
        """Wait for an expression to be true."""
        end = time.monotonic() + seconds
        while not self.js(code):
            assert time.monotonic() < end, f"never true: {code}"
            time.sleep(0.02)


def _key(key: str, modifiers: tuple[str, ...]) -> dict[str, object]:
    """What a browser wants to know of a key."""
    code = KEYS.get(key, ord(key.upper()[0]))
    name = "Space" if key == " " else f"Key{key.upper()}" if key.isalpha() and len(key) == 1 else key
    return {
        "windowsVirtualKeyCode": code, "key": key, "code": name,
        "modifiers": sum(MODIFIERS[one] for one in modifiers),
    }  # fmt: skip
