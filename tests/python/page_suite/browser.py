"""A browser without a window, driven over a pair of pipes by the DevTools protocol: nothing but the browser is needed.

The protocol: https://chromedevtools.github.io/devtools-protocol/. Messages are JSON that end with a zero byte.
"""

import fcntl
import json
import os
import re
import select
import subprocess
import time

SECONDS = 60
SENT = "Network.requestWillBeSent"
# In containers there is no sandbox for root, and hardly any shared memory; nobody is to be asked what is new.
FLAGS = [
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
]
# Key codes of the keys that are pressed (UI Events KeyboardEvent, sections 4 and 5).
KEYS = {"Tab": 9, "Enter": 13, " ": 32}


class Browser:
    """One browser process; `net_log` gets everything that it asks of the network, its own business too."""

    def __init__(self, profile, net_log):
        to_browser, self._write = map(_high, os.pipe())
        self._read, from_browser = map(_high, os.pipe())

        def numbered():
            os.dup2(to_browser, 3)
            os.dup2(from_browser, 4)

        arguments = [*FLAGS, f"--user-data-dir={profile}", f"--log-net-log={net_log}", "about:blank"]
        command = ["chromium-headless-shell", *arguments]
        self._process = subprocess.Popen(command, preexec_fn=numbered, pass_fds=(3, 4), stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self._rest, self._count, self.events = b"", 0, []

    def call(self, method, session=None, **params):
        """The result of one command; what happened meanwhile is kept in `events`."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while True:
            told = self._next(deadline, method)
            if told.get("id") == self._count:
                assert "error" not in told, f"{method}: {told['error']}"
                return told["result"]
            self.events.append(told)

    def _next(self, deadline, method):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{method}: the browser does not answer"
            piece = os.read(self._read, 1 << 16)
            assert piece, f"{method}: the browser ended"
            self._rest += piece
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def page(self, url):
        """A new page of a profile of its own, once it has loaded."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, session, url)

    def close(self):
        """Ends it, after which the log of the network is whole."""
        self.call("Browser.close")
        self._process.wait(SECONDS)


def _high(descriptor):
    """The same pipe under a number that is not in the way of 3 and 4."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(descriptor)
    return moved


class Page:
    """What a person does with a page, and what the browser says of it."""

    def __init__(self, browser, session, url):
        self._browser, self._session = browser, session
        for domain in ("Page", "Runtime", "Log", "Network", "Audits", "Accessibility"):
            self._call(f"{domain}.enable")
        self._call("Page.navigate", url=url)
        self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    def _call(self, method, **params):
        return self._browser.call(method, self._session, **params)

    def value(self, expression):
        told = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, f"{expression}: {told['exceptionDetails']}"
        return told["result"].get("value")

    def until(self, condition, seconds=20):
        """Waits until the page is as the JavaScript says."""
        deadline = time.monotonic() + seconds
        looked = f"new Promise(tell => setTimeout(() => tell({condition}), 10))"
        while not self.value(looked):
            assert time.monotonic() < deadline, f"never: {condition}\n{self.value('document.body.innerText')}"

    def press(self, key):
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            code = {"key": key, "windowsVirtualKeyCode": KEYS[key], "text": text if kind == "keyDown" else ""}
            self._call("Input.dispatchKeyEvent", type=kind, **code)

    def write(self, text):
        """Writes over what stands in the field that has the focus."""
        select_all = {"type": "keyDown", "commands": ["selectAll"]}
        self._call("Input.dispatchKeyEvent", **select_all)
        self._call("Input.insertText", text=text)

    def click(self, selector):
        """Clicks into the middle of what the selector finds."""
        place = f"document.querySelector({json.dumps(selector)})"
        self.value(f"{place}.scrollIntoView({{block: 'center'}})")
        box = self.value(f"(box => [box.x + box.width / 2, box.y + box.height / 2])({place}.getBoundingClientRect())")
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def resize(self, width, height):
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=True)

    def controls(self):
        """Role and name of everything that can be used, as a screen reader has them."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        roles = {"textbox", "combobox", "button", "link", "checkbox"}
        found = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if "role" in node]
        return [control for control in found if control[0] in roles]

    def asked(self):
        """The addresses that this page has asked for."""
        return [event["params"]["request"]["url"] for event in self._told(SENT)]

    def blocked(self):
        """The addresses that the page's policy kept it from."""
        asked = {event["params"]["requestId"]: event["params"]["request"]["url"] for event in self._told(SENT)}
        failed = [event["params"] for event in self._told("Network.loadingFailed")]
        return {asked[failure["requestId"]] for failure in failed if failure.get("blockedReason") == "csp"}

    def cookies(self):
        return self._call("Network.getCookies")["cookies"]

    def complaints(self):
        """Errors and warnings of the console, exceptions, and what the browser reports, such as breaches of the policy."""
        entries = [event["params"]["entry"] for event in self._told("Log.entryAdded")]
        found = [entry for entry in entries if entry["level"] in ("error", "warning") and not _is_refusal(entry)]
        found += self._told("Runtime.exceptionThrown") + self._told("Audits.issueAdded")
        calls = self._told("Runtime.consoleAPICalled")
        return found + [call for call in calls if call["params"]["type"] in ("error", "warning", "assert")]

    def _told(self, method):
        self.value("0")
        events = self._browser.events
        return [event for event in events if event.get("sessionId") == self._session and event["method"] == method]


def _is_refusal(entry):
    """Whether a browser only notes, as it does for any page, that a script was answered 400 or 401."""
    asked = "/predict/" in entry.get("url", "") or entry.get("url", "").endswith("/docs/models")
    return asked and re.search(r"responded with a status of 40[01]\b", entry["text"]) is not None
