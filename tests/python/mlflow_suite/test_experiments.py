import mlflow
import pytest
from conftest import refused, unique
from mlflow.entities import ViewType


def test_life_of_an_experiment(client):
    name = unique("life")
    made = client.create_experiment(name, tags={"team": "a", "long": "x" * 20_000})
    assert made.isdecimal()
    found = client.get_experiment(made)
    assert (found.name, found.lifecycle_stage) == (name, "active")
    assert found.tags["team"] == "a" and found.tags["long"] == "x" * 20_000
    assert found.artifact_location and found.creation_time and found.last_update_time >= found.creation_time
    assert client.get_experiment_by_name(name).experiment_id == made
    client.set_experiment_tag(made, "team", "b")
    client.set_experiment_tag(made, "gone", "x")
    client.delete_experiment_tag(made, "gone")
    assert "gone" not in client.get_experiment(made).tags and client.get_experiment(made).tags["team"] == "b"
    renamed = unique("renamed")
    client.rename_experiment(made, renamed)
    assert client.get_experiment(made).name == renamed and client.get_experiment_by_name(name) is None
    client.delete_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "deleted"
    with refused("RESOURCE_ALREADY_EXISTS"):
        client.create_experiment(renamed)
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.delete_experiment(made)
    with pytest.raises(mlflow.MlflowException):
        client.create_run(made)
    client.restore_experiment(made)
    assert client.get_experiment(made).lifecycle_stage == "active"
    client.create_run(made)


def test_runs_follow_their_experiment(client):
    made = client.create_experiment(unique("follow"))
    run = client.create_run(made).info.run_id
    client.delete_experiment(made)
    assert client.get_run(run).info.lifecycle_stage == "deleted"
    client.restore_experiment(made)
    assert client.get_run(run).info.lifecycle_stage == "active"


def test_the_default_experiment():
    assert mlflow.get_experiment("0").name == "Default"


def test_what_is_refused(client):
    name = unique("taken")
    made = client.create_experiment(name)
    with refused("RESOURCE_ALREADY_EXISTS", name):
        client.create_experiment(name)
    with refused("RESOURCE_DOES_NOT_EXIST", "99999999"):
        client.get_experiment("99999999")
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.delete_experiment("99999999")
    with refused("INVALID_PARAMETER_VALUE"):
        client.set_experiment_tag(made, "long", "x" * 20_001)
    with refused("INVALID_PARAMETER_VALUE"):
        client.set_experiment_tag(made, "../x", "y")
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.delete_experiment_tag(made, "absent")
    with refused("INVALID_PARAMETER_VALUE"):
        client.create_experiment("")


@pytest.fixture(scope="module")
def several(client):
    prefix = unique("Found")
    ids = {}
    for name, kind in [("alpha", "x"), ("beta", "y"), ("Gamma", "x"), ("delta", None)]:
        tags = {"of": prefix, **({"kind": kind} if kind else {})}
        ids[name] = client.create_experiment(f"{prefix}-{name}", tags=tags)
    client.delete_experiment(ids["delta"])
    return prefix, ids


SEARCHES = [
    ("tags.kind = 'x'", ["Gamma", "alpha"]),
    ("tags.kind != 'x'", ["beta"]),
    ("tag.kind = 'y'", ["beta"]),
    ("tags.`kind` = 'y'", ["beta"]),
    ("tags.kind LIKE 'x%'", ["Gamma", "alpha"]),
    ("name LIKE '%lpha'", ["alpha"]),
    ("name LIKE '%gamma'", []),
    ("name ILIKE '%gamma'", ["Gamma"]),
    ("attribute.name LIKE '%-beta'", ["beta"]),
    ("tags.kind = 'x' AND name LIKE '%lpha'", ["alpha"]),
    ("tags.kind = 'x' and name LIKE '%beta'", []),
    ("creation_time > 1", ["Gamma", "beta", "alpha"]),
    ("creation_time < 1", []),
    ("last_update_time >= 1", ["Gamma", "beta", "alpha"]),
]


@pytest.mark.parametrize("condition, names", SEARCHES, ids=[case[0] for case in SEARCHES])
def test_search(client, several, condition, names):
    prefix, _ = several
    found = client.search_experiments(filter_string=f"tags.of = '{prefix}' AND {condition}")
    assert [one.name for one in found] == [f"{prefix}-{name}" for name in names]


def test_search_by_view_order_and_page(client, several):
    prefix, ids = several
    mine = f"tags.of = '{prefix}'"

    def names(**how):
        return [one.name.rsplit("-", 1)[1] for one in client.search_experiments(filter_string=mine, **how)]

    assert names(view_type=ViewType.DELETED_ONLY) == ["delta"]
    assert set(names(view_type=ViewType.ALL)) == set(ids)
    assert names(order_by=["name ASC"]) == ["Gamma", "alpha", "beta"]
    assert names(order_by=["name DESC"]) == ["beta", "alpha", "Gamma"]
    assert names(order_by=["experiment_id"]) == ["alpha", "beta", "Gamma"]
    first = client.search_experiments(filter_string=mine, max_results=2)
    assert len(first) == 2 and first.token
    rest = client.search_experiments(filter_string=mine, max_results=2, page_token=first.token)
    assert len(rest) == 1 and not rest.token
    assert not {one.name for one in first} & {one.name for one in rest}


@pytest.mark.parametrize(
    "condition",
    ["name", "name = ", "name = beta", "tags.kind > 'x'", "metrics.m > 1", "nothing = 'x'", "name == 'x'", "name = 'x' OR name = 'y'"],
)
def test_search_refuses(client, condition):
    with refused("INVALID_PARAMETER_VALUE"):
        client.search_experiments(filter_string=condition)


@pytest.mark.parametrize("results", [0, -1, 50_001])
def test_search_refuses_sizes(client, results):
    with refused("INVALID_PARAMETER_VALUE"):
        client.search_experiments(max_results=results)


def test_tags_by_fluent_calls():
    made = mlflow.set_experiment(unique("fluent"))
    mlflow.set_experiment_tags({"a": "1", "b": "2"})
    tags = mlflow.get_experiment(made.experiment_id).tags
    assert tags["a"] == "1" and tags["b"] == "2"
