"""The page `/docs` in a real browser (`chromium-headless-shell`).

Needs pytest, numpy and onnxruntime, and in the environment:
  PAGE_URL          a server of the models of `make_models.py`, for example http://127.0.0.1:8080
  PAGE_KEYED_URL    the same, which asks for a key
  PAGE_KEY          a key for all models
  PAGE_FLIGHTS_KEY  a key for `flights` alone
  PAGE_MODELS       the folder of the models
"""

import json
import os
from pathlib import Path

import onnxruntime
import pytest
from browser import Browser


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    browser = Browser(folder / "profile", folder / "net-log.json")
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def url():
    return os.environ["PAGE_URL"]


@pytest.fixture(scope="session")
def keyed_url():
    return os.environ["PAGE_KEYED_URL"]


@pytest.fixture
def page(browser, url):
    """The page with its forms; a test must leave nothing that the browser complains of."""
    page = browser.page(f"{url}/docs")
    page.until("document.querySelectorAll('#models form').length === 2")
    yield page
    assert page.complaints() == []
    assert {asked.removeprefix(url) for asked in page.asked()} <= {"/docs", "data:,", "/docs/models", *PREDICT}


PREDICT = ["/predict/iris", "/predict/flights"]


@pytest.fixture(scope="session")
def expected():
    """What onnxruntime answers to a row, as `/predict` writes it."""

    def ask(model, inputs):
        file = Path(os.environ["PAGE_MODELS"]) / model / "model.onnx"
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        labels, probabilities = session.run(None, inputs)
        return labels[0], {str(key): value for key, value in probabilities[0].items()}

    return ask


def answer(text):
    """Status, body and the rest of what the page shows as an answer."""
    first, _, rest = text.partition("\n")
    status, _, body = first.partition(" ")
    return int(status), json.loads(body), rest
