"""The document that describes the server is OpenAPI, and what it says of each model is so (ours alone, not MLflow's)."""

import pytest
import requests
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate


@pytest.fixture(scope="module")
def document(root):
    return requests.get(f"{root}/openapi.json", timeout=30).json()


def operations(document):
    for path, item in document["paths"].items():
        if "post" in item:
            yield path, item["post"]


def check(document, schema, value):
    """`value` is what `schema` says; references are those of the document."""
    OAS31Validator({**schema, "components": document["components"]}).validate(value)


def test_it_is_a_valid_document(document):
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_the_page_to_try_it_is_there(root):
    assert requests.get(f"{root}/docs", timeout=30).status_code == 200


def described(operation, status):
    return operation["responses"][status]["content"]["application/json"]["schema"]


def test_every_example_is_what_its_schema_says_and_so_is_its_answer(root, document):
    asked = []
    for path, operation in operations(document):
        body = operation["requestBody"]["content"]["application/json"]
        # The path that no model is named in has none.
        if "example" not in body:
            continue
        check(document, body["schema"], body["example"])
        response = requests.post(root + path.replace("{version}", "1"), json=body["example"], timeout=30)
        assert response.status_code == 200, (path, response.text)
        check(document, described(operation, "200"), response.json())
        asked.append(path)
    assert {path.split("/")[1] for path in asked} == {"predict", "models", "v2"}


def test_a_refusal_is_what_its_schema_says(root, document):
    for path, operation in operations(document):
        response = requests.post(root + path.replace("{version}", "1"), json="no table", timeout=30)
        assert response.status_code == 400, (path, response.text)
        check(document, described(operation, "400"), response.json())
