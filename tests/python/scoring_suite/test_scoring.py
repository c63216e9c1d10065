"""What a scoring server answers; every expectation holds for `mlflow models serve` 3.17.2 as well."""

import io
import json

import pytest
import requests
from mlflow.deployments import PredictionsResponse


def post(base, data, content_type="application/json"):
    data = data if isinstance(data, (str, bytes)) else json.dumps(data)
    return requests.post(f"{base}/invocations", data=data, headers={"Content-Type": content_type}, timeout=30)


def check_rows(predictions, expected):
    (label, probability), labels, by_class = expected
    assert [row[label] for row in predictions] == labels
    assert [set(row) for row in predictions] == [{label, probability}] * len(labels)
    for row, wanted in zip(predictions, by_class, strict=True):
        assert row[probability] == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def check_columns(predictions, expected):
    (label, probability), labels, by_class = expected
    assert predictions[label] == labels
    for found, wanted in zip(predictions[probability], by_class, strict=True):
        assert found == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_ping_health_and_version(root):
    for path in ("ping", "health"):
        response = requests.get(f"{root}/{path}", timeout=30)
        assert (response.status_code, response.text) == (200, "\n")
    assert requests.get(f"{root}/version", timeout=30).text == "3.17.2"


def test_client_with_a_frame(client, frame, expected):
    check_rows(client.invoke(frame)["predictions"], expected)


def test_client_with_an_array(client, rows, expected):
    check_columns(client.invoke(rows)["predictions"], expected)


def test_client_reads_predictions(client, frame, expected):
    read = client.invoke(frame).get_predictions()
    assert read[expected[0][0]].tolist() == expected[1]


def test_client_with_params_that_are_ignored(client, frame, expected):
    check_rows(client.invoke(frame, params={"temperature": 0.5})["predictions"], expected)


def test_a_missing_value_is_sent_and_answered(client, frame):
    holed = frame.copy()
    holed.iloc[1, 2] = float("nan")
    assert len(client.invoke(holed)["predictions"]) == len(frame)


def test_records_and_split(base, frame, expected):
    check_rows(post(base, {"dataframe_records": frame.to_dict("records")}).json()["predictions"], expected)
    split = frame.to_dict("split")
    check_rows(post(base, {"dataframe_split": split}).json()["predictions"], expected)
    check_rows(post(base, {"dataframe_split": {"data": split["data"]}}).json()["predictions"], expected)


def test_instances_and_inputs(base, rows, expected):
    for key in ("instances", "inputs"):
        response = post(base, {key: rows.tolist()})
        assert response.status_code == 200, response.text
        check_columns(PredictionsResponse.from_json(response.text)["predictions"], expected)


def test_csv(base, frame, expected):
    for content_type in ("text/csv", "text/csv; charset=utf-8"):
        response = post(base, frame.to_csv(index=False), content_type)
        assert response.status_code == 200, response.text
        check_rows(response.json()["predictions"], expected)


def test_parquet(base, frame, expected):
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    response = post(base, buffer.getvalue(), "application/vnd.apache.parquet")
    assert response.status_code == 200, response.text
    check_rows(response.json()["predictions"], expected)


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "[1, 2]",
        '"text"',
        "{}",
        '{"data": [[1, 2, 3]]}',
        '{"inputs": [[1, 2, 3]], "instances": [[1, 2, 3]]}',
        '{"dataframe_split": [[1, 2, 3]]}',
        '{"dataframe_split": {"columns": ["a", "b", "c"]}}',
        '{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1, 2]]}}',
        '{"dataframe_records": {"a": 1}}',
        '{"dataframe_records": [{"c": 1, "a": 2}]}',
        '{"dataframe_records": [{"c": 1, "a": 2, "b": "text"}]}',
        '{"instances": {"a": [1], "b": [1, 2]}}',
        '{"inputs": [[1, 2]]}',
    ],
)
def test_mistakes_are_bad_requests(base, body):
    response = post(base, body)
    assert response.status_code == 400, response.text
    error = response.json()
    assert error["error_code"] == "BAD_REQUEST"
    assert error["message"]


@pytest.mark.parametrize(
    ("content_type", "body"), [("text/csv", "a,b\n1,2\n3,4,5,6\n"), ("application/vnd.apache.parquet", b"PAR1")]
)
def test_files_that_cannot_be_read_are_bad_requests(base, content_type, body):
    response = post(base, body, content_type)
    assert (response.status_code, response.json()["error_code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "content_type",
    ["text/html", "text/csv; charset=latin1", "application/json; format=pandas-split"],
)
def test_other_content_types_are_unsupported(base, content_type):
    assert post(base, "{}", content_type).status_code == 415
