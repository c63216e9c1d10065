"""What a person with a browser, or with a keyboard and a screen reader alone, can do with `/docs`."""

import json
import os
import subprocess
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser import Browser
from conftest import answer

IRIS = "form[data-path='predict/iris']"
FLIGHTS = "form[data-path='predict/flights']"
FLIGHT = {"carrier": "AA", "distance": 1400.5, "hour": 18}


def shown(page, form, part=".answer"):
    return page.value(f'document.querySelector("{form}").closest("section").querySelector("{part}").textContent')


def fill(page, form, name, text):
    page.click(f"{form} [name='{name}']")
    page.write(text)


def ask(page, form):
    """Presses the form's button; the answer."""
    page.click(f"{form} button")
    return told(page, form)


def told(page, form):
    place = f'document.querySelector("{form}").closest("section").querySelector(".answer")'
    page.until(f"/^\\d+ /.test({place}.textContent)")
    return answer(shown(page, form))


def ask_again(page, form):
    """As `ask`, where an answer stands there already."""
    page.value(f'document.querySelector("{form}").closest("section").querySelector(".answer").textContent = ""')
    return ask(page, form)


def is_right(found, expected):
    label, by_class = expected
    assert found["output_label"] == label
    assert found["output_probability"] == pytest.approx(by_class, rel=1e-5, abs=1e-6)


def flight(row):
    types = {"carrier": object, "distance": np.float32, "hour": np.int64}
    return {name: np.array([[value]], dtype=types[name]) for name, value in row.items()}


def test_the_example_that_is_filled_in_is_answered(page, expected):
    row = page.value(f'JSON.parse(document.querySelector("{IRIS} [name=X]").value)')
    assert len(row) == 4
    status, found, _ = ask(page, IRIS)
    assert status == 200
    is_right(found, expected("iris", {"X": np.array([row], dtype=np.float32)}))


def test_columns_of_text_and_numbers(page, expected):
    for name, value in FLIGHT.items():
        fill(page, FLIGHTS, name, str(value))
    status, found, _ = ask(page, FLIGHTS)
    assert status == 200
    is_right(found, expected("flights", flight(FLIGHT)))


def test_text_is_sent_as_it_is_and_shown_as_text(page):
    fill(page, FLIGHTS, "carrier", """'"\\ <b>é""")
    assert ask(page, FLIGHTS)[0] == 200
    fill(page, FLIGHTS, "hour", "<img src=x onerror=alert(1)>")
    status, found, _ = ask_again(page, FLIGHTS)
    assert (status, found["error_code"]) == (400, "BAD_REQUEST")
    assert "<img" in shown(page, FLIGHTS)
    assert page.value("document.querySelectorAll('img, main b').length") == 0


def test_the_curl_line_asks_the_same(page):
    for name, value in {**FLIGHT, "carrier": "A'A"}.items():
        fill(page, FLIGHTS, name, str(value))
    _, found, _ = ask(page, FLIGHTS)
    line = shown(page, FLIGHTS, ".curl")
    printed = subprocess.run(["bash", "-c", line.replace("curl ", "curl -s ", 1)], capture_output=True, check=True)
    assert json.loads(printed.stdout) == found


@pytest.mark.parametrize(("name", "text", "said"), [("distance", "far", "distance"), ("hour", "7.5", "hour")])
def test_a_wrong_value_shows_what_the_server_says(page, name, text, said):
    fill(page, FLIGHTS, name, text)
    status, found, _ = ask(page, FLIGHTS)
    assert (status, found["error_code"]) == (400, "BAD_REQUEST")
    assert f"column `{said}`, row 1" in found["message"]


def test_a_value_that_is_no_json_is_told_without_a_request(page):
    fill(page, IRIS, "X", "[1, 2,")
    page.click(f"{IRIS} button")
    page.until(f'document.querySelector("{IRIS}").closest("section").querySelector(".answer").textContent !== ""')
    assert shown(page, IRIS).startswith("SyntaxError")
    assert not [asked for asked in page.asked() if "/predict/" in asked]


def test_the_keyboard_is_enough(page, expected):
    page.value("document.body.focus()")
    walked = []
    for _ in range(40):
        page.press("Tab")
        here = page.value("(e => [e.tagName, e.name || e.id || e.textContent])(document.activeElement)")
        if here[0] == "BODY":
            break
        assert page.value("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2, here
        walked.append(tuple(here))
        if here == ["INPUT", "carrier"]:
            page.write("AA")
        if here == ["SUMMARY", "Outputs"]:
            page.press(" ")
        if here == ["BUTTON", "Ask"] and len([one for one in walked if one == ("BUTTON", "Ask")]) == 1:
            page.press("Enter")
            status, found, _ = told(page, FLIGHTS)
            assert status == 200
            is_right(found, expected("flights", flight({"carrier": "AA", "distance": 0.5, "hour": 1})))
    tags = [tag for tag, _ in walked]
    form = ["BUTTON", "PRE", "PRE", "SUMMARY"]
    assert tags == ["A", "INPUT", "BUTTON", "INPUT", "INPUT", "INPUT", *form, "TEXTAREA", *form], walked
    assert page.value("document.querySelectorAll('details[open]').length") == 2


def test_enter_in_a_field_asks(page):
    page.click(f"{FLIGHTS} [name='hour']")
    page.press("Enter")
    assert told(page, FLIGHTS)[0] == 200


def test_everything_that_can_be_used_has_a_name(page):
    controls = page.controls()
    assert len(controls) == 9, controls
    assert all(name.strip() for _, name in controls), controls
    assert ("textbox", "carrier BYTES") in controls, controls
    live = "[...document.querySelectorAll('.answer')].every(e => e.getAttribute('aria-live') === 'polite')"
    assert page.value(live), "a screen reader is told of the answer"


def test_it_fits_a_narrow_window(page):
    page.resize(320, 640)
    assert page.value("document.documentElement.scrollWidth") <= 320


def test_a_key_is_asked_for_and_is_enough(browser, keyed_url, expected):
    page = browser.page(f"{keyed_url}/docs")
    page.until("document.getElementById('state').textContent.includes('asks for an API key')")
    assert "flights" not in page.value("document.documentElement.outerHTML")
    page.click("#key")
    page.write("not-the-key-at-all")
    page.press("Enter")
    page.until("document.getElementById('state').textContent === 'The key was refused.'")
    assert page.value("document.querySelectorAll('#models form').length") == 0
    page.click("#key")
    page.write(os.environ["PAGE_KEY"])
    page.click("#access button")
    page.until("document.querySelectorAll('#models form').length === 2")
    assert page.value("document.getElementById('state').textContent") == ""
    status, found, _ = ask(page, IRIS)
    assert status == 200
    is_right(found, expected("iris", {"X": np.full((1, 4), 0.5, dtype=np.float32)}))
    line = shown(page, IRIS, ".curl")
    assert '"X-Api-Key: $KEY"' in line and os.environ["PAGE_KEY"] not in line
    assert page.value("localStorage.length + sessionStorage.length") == 0 and page.cookies() == []
    assert page.complaints() == []


def test_a_key_for_one_model_shows_that_one(browser, keyed_url):
    page = browser.page(f"{keyed_url}/docs")
    page.click("#key")
    page.write(os.environ["PAGE_FLIGHTS_KEY"])
    page.press("Enter")
    page.until("document.querySelectorAll('#models form').length === 1")
    assert "iris" not in page.value("document.documentElement.outerHTML")
    assert ask(page, FLIGHTS)[0] == 200


def test_a_breach_of_the_policy_would_be_seen(browser, url):
    page = browser.page(f"{url}/docs")
    page.value("document.body.appendChild(document.createElement('script')).src = '/other.js'")
    page.value("document.body.appendChild(document.createElement('img')).src = 'http://192.0.2.1/a.png'")
    page.until("true")
    told = json.dumps(page.complaints())
    assert "other.js" in told and "192.0.2.1" in told
    assert page.blocked() == {f"{url}/other.js", "http://192.0.2.1/a.png"}


def test_nothing_leaves_the_machine(tmp_path, url):
    """The log of the whole browser, its own business too, while a page is opened and a model is asked."""
    net_log = tmp_path / "net-log.json"
    browser = Browser(tmp_path / "profile", net_log)
    page = browser.page(f"{url}/docs")
    page.until("document.querySelectorAll('#models form').length === 2")
    assert ask(page, IRIS)[0] == 200
    browser.close()
    log = json.loads(net_log.read_text())
    addresses = [event["params"]["url"] for event in log["events"] if "url" in event.get("params", {})]
    hosts = {urlsplit(address).hostname for address in addresses if address.startswith(("http", "ws"))}
    assert hosts == {urlsplit(url).hostname}, hosts
    # Connections, whoever opens them: `address_list` has where to, `host` what was looked up.
    looked_up = log["constants"]["logEventTypes"]["HOST_RESOLVER_MANAGER_REQUEST"]
    asked = {json.dumps(event["params"]) for event in log["events"] if event["type"] == looked_up and "params" in event}
    assert all(urlsplit(url).hostname in one for one in asked if "host" in one), asked
