import mlflow
import pytest
from conftest import refused, unique
from raw import call


@pytest.fixture
def name(client):
    made = unique("model")
    client.create_registered_model(made, tags={"team": "a"}, description="first")
    return made


def source_of(client, experiment, text="x"):
    """A run with something in it to register."""
    run = client.create_run(experiment.experiment_id)
    client.log_text(run.info.run_id, text, "model/MLmodel")
    return run.info.run_id, f"{run.info.artifact_uri}/model"


@pytest.fixture
def version(client, experiment, name):
    run_id, source = source_of(client, experiment)
    return client.create_model_version(name, source, run_id, tags={"v": "1"}, description="of version")


def test_life_of_a_registered_model(client, name):
    found = client.get_registered_model(name)
    assert (found.name, found.description, found.tags) == (name, "first", {"team": "a"})
    assert found.creation_timestamp <= found.last_updated_timestamp and found.latest_versions == []
    client.update_registered_model(name, description="second")
    client.set_registered_model_tag(name, "team", "b")
    client.set_registered_model_tag(name, "x", "y")
    client.delete_registered_model_tag(name, "x")
    client.delete_registered_model_tag(name, "absent")
    found = client.get_registered_model(name)
    assert (found.description, found.tags) == ("second", {"team": "b"})
    with refused("RESOURCE_ALREADY_EXISTS", name):
        client.create_registered_model(name)
    renamed = unique("renamed")
    client.rename_registered_model(name, renamed)
    assert client.get_registered_model(renamed).description == "second"
    with refused("RESOURCE_DOES_NOT_EXIST", name):
        client.get_registered_model(name)
    client.delete_registered_model(renamed)
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.get_registered_model(renamed)
    client.create_registered_model(renamed)


@pytest.mark.parametrize("bad", ["", "a/b", "a:b"])
def test_names_that_are_refused(client, bad):
    with refused("INVALID_PARAMETER_VALUE"):
        client.create_registered_model(bad)


def test_life_of_a_version(client, experiment, name, version):
    assert int(version.version) == 1 and version.status == "READY" and version.current_stage == "None"
    assert version.tags == {"v": "1"} and version.description == "of version" and version.run_id
    client.update_model_version(name, "1", description="other")
    client.set_model_version_tag(name, "1", "v", "2")
    client.set_model_version_tag(name, "1", "w", "3")
    client.delete_model_version_tag(name, "1", "w")
    found = client.get_model_version(name, "1")
    assert (found.description, found.tags) == ("other", {"v": "2"})
    assert client.get_model_version_download_uri(name, "1")
    run_id, source = source_of(client, experiment)
    assert int(client.create_model_version(name, source, run_id).version) == 2
    with refused("INVALID_PARAMETER_VALUE"):
        client.create_model_version(name, source)
    assert int(client.create_model_version(name, source, run_id).version) == 3
    client.delete_model_version(name, "2")
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.get_model_version(name, "2")
    assert int(client.create_model_version(name, source, run_id).version) == 4
    assert [int(one.version) for one in client.get_registered_model(name).latest_versions] == [4]
    assert [int(one.version) for one in client.get_latest_versions(name)] == [4]
    renamed = unique("renamed")
    client.rename_registered_model(name, renamed)
    assert client.get_model_version(renamed, "1").name == renamed
    client.delete_registered_model(renamed)
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.get_model_version(renamed, "1")


def test_numbers_after_the_last_was_deleted(client, experiment, name, version):
    run_id, source = source_of(client, experiment)
    client.create_model_version(name, source, run_id)
    client.delete_model_version(name, "2")
    assert int(client.create_model_version(name, source, run_id).version) == 3


def test_aliases(client, experiment, name, version):
    run_id, source = source_of(client, experiment)
    client.create_model_version(name, source, run_id)
    client.set_registered_model_alias(name, "champion", "1")
    assert int(client.get_model_version_by_alias(name, "champion").version) == 1
    client.set_registered_model_alias(name, "champion", "2")
    client.set_registered_model_alias(name, "other", "2")
    assert {one.lower() for one in client.get_model_version(name, "2").aliases} == {"champion", "other"}
    assert client.get_model_version(name, "1").aliases == []
    assert {key: int(value) for key, value in client.get_registered_model(name).aliases.items()} == {"champion": 2, "other": 2}
    for bad in ["latest", "v1", "a.b", "a b"]:
        with refused("INVALID_PARAMETER_VALUE"):
            client.set_registered_model_alias(name, bad, "1")
    client.delete_registered_model_alias(name, "champion")
    client.delete_registered_model_alias(name, "champion")
    with refused("INVALID_PARAMETER_VALUE", "champion"):
        client.get_model_version_by_alias(name, "champion")
    client.delete_model_version(name, "2")
    with refused("INVALID_PARAMETER_VALUE"):
        client.get_model_version_by_alias(name, "other")
    for bad in ["latest", "LATEST", "v1", "V22", "", "a b", "a/b"]:
        with refused("INVALID_PARAMETER_VALUE"):
            client.set_registered_model_alias(name, bad, "1")
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.set_registered_model_alias(name, "fine", "99")
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.get_model_version_by_alias(unique("absent"), "champion")


def test_stages(client, experiment, name, version):
    run_id, source = source_of(client, experiment)
    client.create_model_version(name, source, run_id)
    assert client.transition_model_version_stage(name, "1", "Production").current_stage == "Production"
    assert client.transition_model_version_stage(name, "2", "production", archive_existing_versions=True).current_stage == "Production"
    assert client.get_model_version(name, "1").current_stage == "Archived"
    client.transition_model_version_stage(name, "1", "Staging")
    latest = {one.current_stage: int(one.version) for one in client.get_latest_versions(name)}
    assert latest == {"Production": 2, "Staging": 1}
    assert [int(one.version) for one in client.get_latest_versions(name, ["Staging"])] == [1]
    with refused("INVALID_PARAMETER_VALUE"):
        client.transition_model_version_stage(name, "1", "Nowhere")


def test_what_is_absent(client, name):
    absent = unique("absent")
    calls = [
        lambda: client.get_registered_model(absent),
        lambda: client.update_registered_model(absent, description="x"),
        lambda: client.delete_registered_model(absent),
        lambda: client.rename_registered_model(absent, unique("x")),
        lambda: client.set_registered_model_tag(absent, "a", "b"),
        lambda: client.get_model_version(name, "9"),
        lambda: client.update_model_version(name, "9", description="x"),
        lambda: client.delete_model_version(name, "9"),
        lambda: client.set_model_version_tag(name, "9", "a", "b"),
        lambda: client.get_model_version_download_uri(name, "9"),
    ]
    for one in calls:
        with refused("RESOURCE_DOES_NOT_EXIST"):
            one()
    with refused("INVALID_PARAMETER_VALUE"):
        client.get_model_version(name, "abc")


@pytest.mark.parametrize("source", ["/etc", "file:///etc", "mlflow-artifacts:/1/../../etc", "mlflow-artifacts:/..%2f..%2fetc"])
def test_sources_outside_are_refused(client, experiment, name, source):
    run_id, _ = source_of(client, experiment)
    with refused("INVALID_PARAMETER_VALUE"):
        client.create_model_version(name, source, run_id)


@pytest.fixture(scope="module")
def several(client, experiment):
    prefix = unique("Reg")
    table = {"alpha": {"team": "red"}, "beta": {"team": "blue"}, "Gamma": {"team": "Red", "x y": "1"}}
    for short, tags in table.items():
        client.create_registered_model(f"{prefix}-{short}", tags={**tags, "of": prefix})
        for number in range(1, 3):
            run_id, source = source_of(client, experiment)
            client.create_model_version(f"{prefix}-{short}", source, run_id, tags={"n": str(number), "of": prefix})
    client.set_registered_model_alias(f"{prefix}-alpha", "best", "2")
    return prefix


MODELS = [
    ("name LIKE '{}-%'", ["Gamma", "alpha", "beta"]),
    ("name = '{}-alpha'", ["alpha"]),
    ("name != '{}-alpha' and tags.of = '{}'", ["Gamma", "beta"]),
    ("name ILIKE '{}-GAMMA'", ["Gamma"]),
    ("tags.of = '{}' and tags.team = 'red'", ["alpha"]),
    ("tags.of = '{}' and tags.team != 'red'", ["Gamma", "beta"]),
    ("tags.of = '{}' and tags.team ILIKE 'RED'", ["Gamma", "alpha"]),
    ("tags.of = '{}' and tags.team LIKE 'R%'", ["Gamma"]),
    ("tags.of = '{}' and tags.`x y` = '1'", ["Gamma"]),
    ("name LIKE '{}-%' and tags.nothing = 'x'", []),
]


@pytest.mark.parametrize("condition, names", MODELS, ids=[case[0] for case in MODELS])
def test_search_models(client, several, condition, names):
    found = client.search_registered_models(condition.replace("{}", several))
    assert [one.name.removeprefix(several + "-") for one in found] == names


def test_found_models_and_their_pages(client, several):
    mine = f"name LIKE '{several}-%'"
    [alpha] = client.search_registered_models(f"name = '{several}-alpha'")
    assert {key: int(value) for key, value in alpha.aliases.items()} == {"best": 2}
    assert [int(one.version) for one in alpha.latest_versions] == [2]
    found = client.search_registered_models(mine, order_by=["name DESC"])
    assert [one.name.rsplit("-", 1)[1] for one in found] == ["beta", "alpha", "Gamma"]
    first = client.search_registered_models(mine, max_results=2)
    rest = client.search_registered_models(mine, max_results=2, page_token=first.token)
    assert len(first) == 2 and len(rest) == 1 and not rest.token
    assert client.search_registered_models(mine, order_by=["last_updated_timestamp ASC"])
    with refused("INVALID_PARAMETER_VALUE"):
        client.search_registered_models(max_results=1001)


VERSIONS = [
    ("name = '{}-alpha'", [("alpha", 2), ("alpha", 1)]),
    ("name LIKE '{}-%' and tags.n = '1'", [("Gamma", 1), ("alpha", 1), ("beta", 1)]),
    ("tags.of = '{}' and version_number = 2", [("Gamma", 2), ("alpha", 2), ("beta", 2)]),
    ("name ILIKE '{}-GAMMA' and version_number > 1", [("Gamma", 2)]),
    ("tags.of = '{}' and tags.n != '1' and name != '{}-beta'", [("Gamma", 2), ("alpha", 2)]),
]


@pytest.mark.parametrize("condition, expected", VERSIONS, ids=[case[0] for case in VERSIONS])
def test_search_versions(client, several, condition, expected):
    found = client.search_model_versions(condition.replace("{}", several), order_by=["name ASC", "version_number DESC"])
    assert [(one.name.rsplit("-", 1)[1], int(one.version)) for one in found] == expected


def test_search_versions_by_run_and_source(client, several):
    found = client.get_model_version(f"{several}-beta", "2")
    for condition in [f"run_id = '{found.run_id}'", f"run_id IN ('{found.run_id}', 'x')", f"source_path = '{found.source}'"]:
        assert [(one.name, int(one.version)) for one in client.search_model_versions(condition)] == [(found.name, 2)]
    mine = f"name LIKE '{several}-%'"
    first = client.search_model_versions(mine, max_results=4)
    rest = client.search_model_versions(mine, max_results=4, page_token=first.token)
    assert len(first) == 4 and len(rest) == 2 and not rest.token


@pytest.mark.parametrize("condition", ["name >", "name > 'x'", "nothing = 'x'", "name = x", "name = 'a' or name = 'b'", "tags.a > 'b'"])
def test_searches_refuse(client, condition):
    for search in [client.search_registered_models, client.search_model_versions]:
        with refused("INVALID_PARAMETER_VALUE"):
            search(condition)


def test_prompts():
    name = unique("prompt")
    first = mlflow.genai.register_prompt(name, "Say {{what}}.", commit_message="first", tags={"tone": "calm"})
    second = mlflow.genai.register_prompt(name, "Shout {{what}}!")
    assert (int(first.version), int(second.version)) == (1, 2)
    mlflow.genai.set_prompt_alias(name, "live", 1)
    loaded = mlflow.genai.load_prompt(f"prompts:/{name}@live")
    assert loaded.template == "Say {{what}}." and loaded.format(what="hello") == "Say hello."
    assert loaded.commit_message == "first" and loaded.tags["tone"] == "calm"
    assert mlflow.genai.load_prompt(f"prompts:/{name}/2").template == "Shout {{what}}!"
    assert name in [one.name for one in mlflow.genai.search_prompts(filter_string=f"name = '{name}'")]
    assert name not in [one.name for one in mlflow.MlflowClient().search_registered_models(max_results=1000)]
    assert mlflow.MlflowClient().search_model_versions(f"name = '{name}'") == []
    chat = [{"role": "user", "content": "{{question}}"}]
    assert mlflow.genai.register_prompt(unique("chat"), chat).template == chat
    mlflow.genai.delete_prompt_alias(name, "live")
    assert mlflow.genai.load_prompt(f"prompts:/{name}@live", allow_missing=True) is None


def test_webhooks(client):
    from mlflow.entities.webhook import WebhookStatus

    made = client.create_webhook(unique("hook"), "https://93.184.215.14/hook", ["registered_model.created"], description="d", secret="s")
    assert made.status == WebhookStatus.ACTIVE and made.webhook_id
    found = client.get_webhook(made.webhook_id)
    assert (found.url, found.description) == ("https://93.184.215.14/hook", "d") and [str(one) for one in found.events] == ["registered_model.created"]
    client.update_webhook(made.webhook_id, status="DISABLED", events=["model_version.created", "model_version_alias.created"])
    found = client.get_webhook(made.webhook_id)
    assert found.status == WebhookStatus.DISABLED and len(found.events) == 2
    assert made.webhook_id in [one.webhook_id for one in client.list_webhooks()]
    client.delete_webhook(made.webhook_id)
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.get_webhook(made.webhook_id)
    status, answer = call("POST", "/api/2.0/mlflow/webhooks", {"name": "x", "url": "no url", "events": [{"entity": "REGISTERED_MODEL", "action": "CREATED"}]})
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
