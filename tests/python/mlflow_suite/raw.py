"""Requests without MLflow's client."""

import json
import os
import urllib.error
import urllib.request

URI = os.environ["MLFLOW_TRACKING_URI"].rstrip("/")


def call(method, path, body=None, headers=None):
    """Status and decoded JSON body (text where it is none) of one request."""
    status, text, _ = exchange(method, path, body, headers)
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text.decode(errors="replace")


def exchange(method, path, body=None, headers=None):
    """Status, bytes and headers of one request; a body that is not bytes is sent as JSON."""
    sent = {"Content-Type": "application/json", **(headers or {})}
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        sent.setdefault("Authorization", f"Bearer {token}")
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(URI + path, data=data, headers=sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), dict(answer.headers.items())
    except urllib.error.HTTPError as error:
        return error.code, error.read(), dict(error.headers.items())
