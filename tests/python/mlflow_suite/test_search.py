"""The search grammar of runs: a table of filters, what they find was reckoned by hand."""

import math

import mlflow
import pytest
from conftest import refused, unique
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag
from raw import call

#      start  name     status       auc       loss     depth   kind tags
RUNS = {
    "a": (10, "alpha", "FINISHED", {"auc": 0.9, "val loss": 0.1, "same": 1}, {"depth": "3", "Kind": "Tree"}, {"team": "red", "note": "it's fine"}),
    "b": (20, "beta", "FAILED", {"auc": 0.5, "val loss": 0.4, "same": 1}, {"depth": "10", "Kind": "forest"}, {"team": "blue", "a.b": "x"}),
    "c": (30, "Gamma", "RUNNING", {"auc": math.nan, "same": 1}, {"depth": "3"}, {"team": "Red", "a b": "y"}),
    "d": (40, "delta_1", "FINISHED", {"auc": math.inf, "same": 1}, {"Kind": "tree"}, {"empty": ""}),
    "e": (50, "epsilon%", "KILLED", {"auc": -math.inf}, {}, {"team": "green"}),
}


@pytest.fixture(scope="module")
def place(client):
    made = client.create_experiment(unique("grammar"))
    ids = {}
    for letter, (start, name, status, metrics, params, tags) in RUNS.items():
        run = client.create_run(made, start_time=start, run_name=name, tags={"mlflow.user": f"user {letter}", "mlflow.source.name": f"{letter}.py"})
        ids[letter] = run.info.run_id
        client.log_batch(
            run.info.run_id,
            [Metric(key, value, 1, 0) for key, value in metrics.items()],
            [Param(*one) for one in params.items()],
            [RunTag(*one) for one in tags.items()],
        )
        if status != "RUNNING":
            client.set_terminated(run.info.run_id, status, end_time=start + 5)
    inputs = [("a", "wine", "d1", "train"), ("b", "wine", "d2", "eval"), ("c", "beer", "d1", "train")]
    for letter, name, digest, context in inputs:
        entity = mlflow.entities.Dataset(name, digest, "local", "{}", "s" * 5, "{}")
        client.log_inputs(ids[letter], [DatasetInput(entity, [InputTag("mlflow.data.context", context)])])
    return made, ids


FILTERS = [
    # metrics; NaN is neither more nor less than a number
    ("metrics.auc > 0.5", "da"),
    ("metrics.auc >= 0.5", "dba"),
    ("metrics.auc < 0.9", "eb"),
    ("metrics.auc <= 0.9", "eba"),
    ("metrics.auc = 0.9", "a"),
    ("metrics.auc != 0.9", "edcb"),
    ("metric.auc = 0.9", "a"),
    ("metrics.`val loss` < 0.2", "a"),
    ('metrics."val loss" < 0.5', "ba"),
    ("metrics.`val loss` < 0.5 and metrics.auc > 0.6", "a"),
    ("metrics.auc > 5e-1", "da"),
    ("metrics.auc > -1", "dba"),
    ("metrics.none > 0", ""),
    ("metrics.same = 1", "dcba"),
    # params: text, never numbers
    ("params.depth = '3'", "ca"),
    ("params.depth != '3'", "b"),
    ('params.depth = "3"', "ca"),
    ("param.depth = '10'", "b"),
    ("parameters.depth = '3'", "ca"),
    ("params.Kind = 'tree'", "d"),
    ("params.Kind LIKE 'T%'", "a"),
    ("params.Kind ILIKE 't%'", "da"),
    ("params.Kind LIKE '%re%'", "dba"),
    ("params.Kind LIKE '_ree'", "da"),
    ("params.kind = 'tree'", ""),
    ("params.depth IS NULL", "ed"),
    ("params.depth IS NOT NULL", "cba"),
    # tags
    ("tags.team = 'red'", "a"),
    ("tags.team != 'red'", "ecb"),
    ("tag.team = 'blue'", "b"),
    ("tags.team ILIKE 'RED'", "ca"),
    ("tags.team LIKE '%e%'", "ecba"),
    ("tags.`a.b` = 'x'", "b"),
    ("tags.a.b = 'x'", "b"),
    ('tags."a b" = \'y\'', "c"),
    ("tags.empty = ''", "d"),
    ("tags.team IS NULL", "d"),
    ("tags.team IS NOT NULL", "ecba"),
    ('tags.note = "it\'s fine"', "a"),
    ("tags.mlflow.runName = 'alpha'", "a"),
    ("tags.`mlflow.runName` LIKE '%lta_1'", "d"),
    # attributes
    ("attributes.status = 'FINISHED'", "da"),
    ("attribute.status = 'FINISHED'", "da"),
    ("attr.status != 'FINISHED'", "ecb"),
    ("status = 'KILLED'", "e"),
    ("run_name = 'alpha'", "a"),
    ("attributes.run_name ILIKE 'GAMMA'", "c"),
    ("attributes.`run name` = 'beta'", "b"),
    ("attributes.`Run name` = 'beta'", "b"),
    ("run_name LIKE 'delta\\_1'", ""),
    ("run_name LIKE '%a'", "cba"),
    ("start_time > 20", "edc"),
    ("attributes.start_time <= 20", "ba"),
    ("end_time = 25", "b"),
    ("end_time > 1", "edba"),
    ("user_id = 'user b'", "b"),
    # several
    ("params.depth = '3' and tags.team = 'red'", "a"),
    ("params.depth = '3' AND tags.team = 'red' AND metrics.auc > 1", ""),
    ("start_time > 10 and start_time < 40", "cb"),
    ("  params.depth   =   '3'  ", "ca"),
    # datasets
    ("dataset.name = 'wine'", "ba"),
    ("datasets.name = 'wine'", "ba"),
    ("dataset.digest = 'd1'", "ca"),
    ("dataset.context = 'train'", "ca"),
    ("dataset.name LIKE '%ee%'", "c"),
    ("dataset.name ILIKE 'WINE'", "ba"),
    ("dataset.name != 'wine'", "c"),
    ("dataset.name IN ('wine', 'beer')", "cba"),
    ("dataset.digest NOT IN ('d1')", "b"),
    ("dataset.name = 'wine' and dataset.context = 'eval'", "b"),
    ("dataset.name = 'wine' and metrics.auc > 0.6", "a"),
    ("", "edcba"),
]


def letters(place, found):
    back = {run_id: letter for letter, run_id in place[1].items()}
    return "".join(back[run.info.run_id] for run in found)


@pytest.mark.parametrize("condition, expected", FILTERS, ids=[case[0] or "nothing" for case in FILTERS])
def test_filters(client, place, condition, expected):
    assert letters(place, client.search_runs([place[0]], condition)) == expected


def test_lists_of_ids(client, place):
    made, ids = place
    listed = f"'{ids['a']}', '{ids['c']}'"
    assert letters(place, client.search_runs([made], f"attributes.run_id IN ({listed})")) == "ca"
    assert letters(place, client.search_runs([made], f"run_id NOT IN ({listed})")) == "edb"
    assert letters(place, client.search_runs([made], f"run_id = '{ids['b']}'")) == "b"
    assert letters(place, client.search_runs([made], f"run_id != '{ids['b']}'")) == "edca"


ORDERS = [
    ([], "edcba"),
    (["start_time ASC"], "abcde"),
    (["attributes.start_time"], "abcde"),
    (["start_time DESC"], "edcba"),
    (["metrics.auc ASC"], "ebadc"),
    (["metrics.auc DESC"], "dabec"),
    (["metrics.`val loss` ASC"], "abedc"),
    (["metrics.`val loss` DESC"], "baedc"),
    (["params.depth ASC"], "bcaed"),
    (["params.depth DESC", "start_time ASC"], "acbde"),
    (["tags.team"], "cbead"),
    (["run_name ASC"], "cabde"),
    (["attributes.status ASC", "start_time ASC"], "badec"),
    (["end_time ASC"], "abdec"),
    (["end_time DESC"], "edbac"),
    (["metrics.same DESC", "start_time ASC"], "abcde"),
]


@pytest.mark.parametrize("order, expected", ORDERS, ids=[" ".join(case[0]) or "none" for case in ORDERS])
def test_orders(client, place, order, expected):
    assert letters(place, client.search_runs([place[0]], order_by=order)) == expected
    paged, token = [], None
    while True:
        page = client.search_runs([place[0]], order_by=order, max_results=2, page_token=token)
        paged += page
        token = page.token
        if not token:
            break
    assert letters(place, paged) == expected


REFUSED = [
    "metrics.auc",
    "metrics.auc >",
    "metrics.auc > 'abc'",
    "metrics.auc > abc",
    "metrics.auc LIKE '%x'",
    "metrics.auc == 1",
    "params.depth > '3'",
    "params.depth = 3",
    "params.depth = abc",
    "params = '3'",
    "tags.team > 'a'",
    "nothing.x = '3'",
    "attributes.nothing = 'x'",
    "attributes.start_time = 'abc'",
    "attributes.start_time LIKE '1%'",
    "params.depth = '3' or tags.team = 'red'",
    "params.depth = '3",
    "dataset.nothing = 'x'",
    "metrics.auc IS NULL",
    "'3' = params.depth",
    "run_id IN ()",
    "run_id IN 'x'",
    "(params.depth = '3'",
]


@pytest.mark.parametrize("condition", REFUSED)
def test_refused_filters(client, place, condition):
    with refused("INVALID_PARAMETER_VALUE"):
        client.search_runs([place[0]], condition)


@pytest.mark.parametrize("order", ["nothing", "metrics.auc UP", "metrics.auc ASC DESC", "attributes.nothing", "x.y.z"])
def test_refused_orders(client, place, order):
    with refused("INVALID_PARAMETER_VALUE"):
        client.search_runs([place[0]], order_by=[order])


def test_sizes_and_places(client, place):
    made, _ = place
    for results in [-1, 50_001]:
        body = {"experiment_ids": [made], "max_results": results}
        status, answer = call("POST", "/api/2.0/mlflow/runs/search", body)
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), results
    assert client.search_runs([]) == []
    assert client.search_runs(["99999999"]) == []
    other = client.create_experiment(unique("other"))
    client.create_run(other, start_time=35)
    both = client.search_runs([made, other])
    assert [run.info.start_time for run in both] == [50, 40, 35, 30, 20, 10]
    assert call("POST", "/api/2.0/mlflow/runs/search", {"experiment_ids": [made], "page_token": "no token"})[0] == 400


def test_what_a_found_run_carries(client, place):
    [found] = client.search_runs([place[0]], "metrics.auc = 0.9")
    assert found.data.metrics == {"auc": 0.9, "val loss": 0.1, "same": 1}
    assert found.data.params == {"depth": "3", "Kind": "Tree"} and found.data.tags["team"] == "red"
    assert [one.dataset.name for one in found.inputs.dataset_inputs] == ["wine"]


def test_ties_keep_pages_apart(client):
    made = client.create_experiment(unique("ties"))
    ids = sorted(client.create_run(made, start_time=7).info.run_id for _ in range(7))
    seen, token = [], None
    while True:
        page = client.search_runs([made], max_results=3, page_token=token)
        seen += [run.info.run_id for run in page]
        token = page.token
        if not token:
            break
    assert seen == ids
