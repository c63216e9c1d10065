import os
import pathlib

import mlflow
import numpy
import pandas
import pytest
from conftest import on_mlflow, refused
from matplotlib import pyplot
from raw import call, exchange


def paths(found):
    return [(one.path, one.is_dir, one.file_size) for one in found]


def test_all_kinds_come_back(client, run, tmp_path):
    run_id = run.info.run_id
    large = os.urandom(1 << 20) * 3
    (tmp_path / "in/sub/deep").mkdir(parents=True)
    (tmp_path / "in/large.bin").write_bytes(large)
    (tmp_path / "in/sub/a name with ü & 50%.txt").write_text("ü")
    (tmp_path / "in/sub/deep/empty").write_bytes(b"")
    mlflow.log_artifact(tmp_path / "in/large.bin", "deep/down")
    mlflow.log_artifact(tmp_path / "in/large.bin")
    mlflow.log_artifacts(tmp_path / "in", "all")
    mlflow.log_dict({"a": [1, 2]}, "config/a.json")
    mlflow.log_dict({"a": [1, 2]}, "config/a.yaml")
    mlflow.log_text("text", "notes.txt")
    mlflow.log_text("text again", "notes.txt")
    assert paths(client.list_artifacts(run_id)) == [
        ("all", True, None), ("config", True, None), ("deep", True, None), ("large.bin", False, len(large)), ("notes.txt", False, 10),
    ]
    assert paths(client.list_artifacts(run_id, "all")) == [("all/large.bin", False, len(large)), ("all/sub", True, None)]
    assert paths(client.list_artifacts(run_id, "deep/down")) == [("deep/down/large.bin", False, len(large))]
    assert client.list_artifacts(run_id, "notes.txt") == [] and client.list_artifacts(run_id, "absent") == []
    back = pathlib.Path(client.download_artifacts(run_id, "", str(tmp_path / "back")))
    assert (back / "deep/down/large.bin").read_bytes() == large
    assert (back / "all/sub/a name with ü & 50%.txt").read_text() == "ü"
    assert (back / "all/sub/deep/empty").read_bytes() == b""
    assert mlflow.artifacts.load_dict(f"runs:/{run_id}/config/a.json") == {"a": [1, 2]}
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/notes.txt") == "text again"
    single = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="notes.txt", dst_path=tmp_path / "one")
    assert pathlib.Path(single).read_text() == "text again"
    by_uri = mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/config", dst_path=tmp_path / "two")
    assert sorted(os.listdir(by_uri)) == ["a.json", "a.yaml"]
    assert [one.path for one in mlflow.artifacts.list_artifacts(run_id=run_id, artifact_path="config")] == ["config/a.json", "config/a.yaml"]


def test_artifacts_are_deleted(client, run):
    repository = mlflow.store.artifact.artifact_repository_registry.get_artifact_repository(run.info.artifact_uri)
    for name in ["a/b.txt", "a/c.txt", "d.txt"]:
        mlflow.log_text("x", name)
    repository.delete_artifacts("a/b.txt")
    assert paths(client.list_artifacts(run.info.run_id, "a")) == [("a/c.txt", False, 1)]
    repository.delete_artifacts("a")
    assert [one.path for one in client.list_artifacts(run.info.run_id)] == ["d.txt"]


def test_what_is_absent(client, run, tmp_path):
    with pytest.raises(Exception, match="(?i)absent|no such|not found|404"):
        client.download_artifacts(run.info.run_id, "absent.txt", str(tmp_path))
    assert client.list_artifacts(run.info.run_id) == []
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.list_artifacts("0" * 32)


def test_pictures_and_tables(client, run):
    figure, axes = pyplot.subplots()
    axes.plot([0, 1], [1, 0])
    mlflow.log_figure(figure, "plots/line.png")
    [picture] = client.list_artifacts(run.info.run_id, "plots")
    assert picture.path == "plots/line.png" and picture.file_size > 1_000
    mlflow.log_image(numpy.zeros((8, 8, 3), dtype=numpy.uint8), "black.png")
    for step in range(2):
        mlflow.log_image(numpy.full((8, 8), step * 255, dtype=numpy.uint8), key="shade", step=step)
    # Steps are uploaded on a thread of the client.
    mlflow.flush_artifact_async_logging()
    images = [one.path for one in client.list_artifacts(run.info.run_id, "images")]
    assert len(images) == 4 and all(one.startswith("images/shade+step+") for one in images), images
    mlflow.log_table({"question": ["a", "b"], "answer": [1, 2]}, "table.json")
    mlflow.log_table(pandas.DataFrame({"question": ["c"], "answer": [3]}), "table.json")
    table = mlflow.load_table("table.json", run_ids=[run.info.run_id])
    assert list(table["question"]) == ["a", "b", "c"] and list(table["answer"]) == [1, 2, 3]


CLIMBING = ["..%2f..%2fx", "%2e%2e/x", "%252e%252e%252fx", "a/%2e%2e/%2e%2e/x", "%2fetc/passwd", "a/..%2f..%2f..%2fx"]


@pytest.mark.parametrize("path", CLIMBING)
def test_paths_cannot_climb(run, path):
    root = f"/api/2.0/mlflow-artifacts/artifacts/{run.info.experiment_id}/{run.info.run_id}/artifacts"
    for method in ["PUT", "GET", "DELETE"]:
        status, answer = call(method, f"{root}/{path}", b"x" if method == "PUT" else None)
        if on_mlflow() and path.startswith("%2f"):
            continue  # MLflow finds out only where it opens the file, and says so by 500 or 404
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), (method, path, answer)
    status, answer = call("GET", f"/get-artifact?run_id={run.info.run_id}&path={path}")
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), (path, answer)
    status, answer = call("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run.info.run_id}&path={path}")
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), (path, answer)


def test_downloads_say_what_they_are(client, run):
    mlflow.log_text("<script>alert(1)</script>", "page.html")
    mlflow.log_text("plain", "notes.txt")
    for path, text in [("page.html", b"<script>alert(1)</script>"), ("notes.txt", b"plain")]:
        proxied = f"/api/2.0/mlflow-artifacts/artifacts/{run.info.experiment_id}/{run.info.run_id}/artifacts/{path}"
        for url in [f"/get-artifact?run_id={run.info.run_id}&path={path}", proxied]:
            status, body, headers = exchange("GET", url)
            headers = {name.lower(): value for name, value in headers.items()}
            assert (status, body) == (200, text)
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-disposition"].startswith("attachment") and path in headers["content-disposition"]


def test_proxied_lists(run):
    mlflow.log_text("x", "a/b.txt")
    root = f"{run.info.experiment_id}/{run.info.run_id}/artifacts"
    status, answer = call("GET", f"/api/2.0/mlflow-artifacts/artifacts?path={root}")
    assert status == 200 and [(one["path"], one["is_dir"]) for one in answer["files"]] == [("a", True)]
    status, answer = call("GET", f"/api/2.0/mlflow-artifacts/artifacts?path={root}/a")
    assert [(one["path"], one["is_dir"], int(one["file_size"])) for one in answer["files"]] == [("b.txt", False, 1)]
