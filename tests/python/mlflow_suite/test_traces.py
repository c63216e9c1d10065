"""Traces: how they are written by the client's decorators, and how they are found again."""

import mlflow
import pytest
from conftest import refused, unique
from mlflow.entities import AssessmentSource, AssessmentSourceType, SpanType
from raw import call


@mlflow.trace(name="inner", span_type=SpanType.TOOL, attributes={"kind": "sum"})
def add(first, second):
    return first + second


@mlflow.trace
def outer(question):
    mlflow.update_current_trace(tags={"topic": question}, metadata={"mlflow.trace.session": f"session {question}"})
    with mlflow.start_span("middle") as span:
        span.set_inputs({"question": question})
        span.add_event(mlflow.entities.SpanEvent("thought", attributes={"deep": True}))
        answer = add(1, 2)
        span.set_outputs({"answer": answer})
    return answer


def traced(question):
    assert outer(question) == 3
    mlflow.flush_trace_async_logging()
    return mlflow.get_last_active_trace_id()


def test_a_trace_comes_back(client, experiment):
    trace_id = traced("why")
    assert trace_id.startswith("tr-")
    trace = client.get_trace(trace_id)
    assert trace.info.state == "OK" and trace.info.experiment_id == experiment.experiment_id
    assert trace.info.tags["topic"] == "why" and trace.info.trace_metadata["mlflow.trace.session"] == "session why"
    assert trace.info.execution_duration >= 0 and trace.info.request_time > 0
    spans = {span.name: span for span in trace.data.spans}
    assert set(spans) == {"outer", "middle", "inner"}
    assert spans["inner"].parent_id == spans["middle"].span_id and spans["middle"].parent_id == spans["outer"].span_id
    assert spans["outer"].parent_id is None and spans["inner"].span_type == "TOOL"
    assert spans["inner"].inputs == {"first": 1, "second": 2} and spans["inner"].outputs == 3
    assert spans["inner"].get_attribute("kind") == "sum"
    assert [event.name for event in spans["middle"].events] == ["thought"]
    assert spans["outer"].start_time_ns <= spans["inner"].start_time_ns < spans["outer"].end_time_ns
    assert "why" in trace.info.request_preview and "3" in trace.info.response_preview


def test_a_failed_trace(client):
    @mlflow.trace
    def fails():
        raise ValueError("no way")

    with pytest.raises(ValueError):
        fails()
    trace = client.get_trace(mlflow.get_last_active_trace_id())
    assert trace.info.state == "ERROR"
    [span] = trace.data.spans
    assert span.status.status_code == "ERROR" and any(event.name == "exception" for event in span.events)


@pytest.fixture(scope="module")
def several(client):
    made = mlflow.set_experiment(unique("traces"))
    ids = {}
    for letter, fails in [("a", False), ("b", True), ("c", False)]:

        @mlflow.trace(name=f"work {letter}")
        def work(value, letter=letter, fails=fails):
            mlflow.update_current_trace(tags={"letter": letter, "all": "yes"}, metadata={"part": f"p{letter}"})
            if fails:
                raise ValueError(value)
            return value

        try:
            work(letter)
        except ValueError:
            pass
        ids[letter] = mlflow.get_last_active_trace_id()
    mlflow.flush_trace_async_logging()
    return made.experiment_id, ids


SEARCHES = [
    (None, "cba"),
    ("tags.letter = 'a'", "a"),
    ("tag.letter = 'b'", "b"),
    ("tags.letter != 'a'", "cb"),
    ("tags.all = 'yes' AND tags.letter = 'c'", "c"),
    ("attributes.status = 'ERROR'", "b"),
    ("trace.status = 'OK'", "ca"),
    ("status != 'ERROR'", "ca"),
    ("timestamp_ms > 1", "cba"),
    ("attributes.timestamp_ms < 1", ""),
    ("trace.name = 'work a'", "a"),
    ("attributes.name LIKE 'work%'", "cba"),
    ("metadata.part = 'pc'", "c"),
    ("tags.letter LIKE '%'", "cba"),
    ("execution_time_ms >= 0", "cba"),
]


def letters(several, found):
    back = {trace_id: letter for letter, trace_id in several[1].items()}
    return "".join(back[one.info.trace_id] for one in found)


@pytest.mark.parametrize("condition, expected", SEARCHES, ids=[str(case[0]) for case in SEARCHES])
def test_search(client, several, condition, expected):
    found = client.search_traces(locations=[several[0]], filter_string=condition, order_by=["timestamp_ms DESC"])
    assert sorted(letters(several, found)) == sorted(expected)


def test_search_by_order_and_page(client, several):
    place = [several[0]]
    ascending = client.search_traces(locations=place, order_by=["timestamp_ms ASC"])
    times = [one.info.request_time for one in ascending]
    assert times == sorted(times) and len(times) == 3
    first = client.search_traces(locations=place, max_results=2)
    rest = client.search_traces(locations=place, max_results=2, page_token=first.token)
    assert len(first) == 2 and len(rest) == 1 and not rest.token
    bare = client.search_traces(locations=place, include_spans=False)
    assert len(bare) == 3 and all(not one.data.spans for one in bare)
    frame = mlflow.search_traces(locations=place, filter_string="tags.letter = 'a'")
    assert list(frame["trace_id"]) == [several[1]["a"]]


@pytest.mark.parametrize("condition", ["nothing.x = 'y'", "tags.a >", "status = 'OK' OR status = 'ERROR'"])
def test_search_refuses(client, several, condition):
    with refused("INVALID_PARAMETER_VALUE"):
        client.search_traces(locations=[several[0]], filter_string=condition)


def test_tags_of_traces(client):
    trace_id = traced("tags")
    client.set_trace_tag(trace_id, "later", "1")
    client.set_trace_tag(trace_id, "later", "2")
    client.set_trace_tag(trace_id, "gone", "1")
    client.delete_trace_tag(trace_id, "gone")
    tags = client.get_trace(trace_id).info.tags
    assert tags["later"] == "2" and "gone" not in tags
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client.delete_trace_tag(trace_id, "gone")


def test_assessments(client):
    trace_id = traced("assess")
    human = AssessmentSource(AssessmentSourceType.HUMAN, "someone")
    feedback = mlflow.log_feedback(trace_id=trace_id, name="good", value=True, source=human, rationale="because")
    mlflow.log_expectation(trace_id=trace_id, name="answer", value={"is": 3}, source=human)
    found = {one.name: one for one in client.get_trace(trace_id).info.assessments}
    assert set(found) == {"good", "answer"}
    assert found["good"].value is True and found["good"].rationale == "because" and found["answer"].value == {"is": 3}
    assert mlflow.get_assessment(trace_id, feedback.assessment_id).source.source_id == "someone"
    mlflow.update_assessment(trace_id, feedback.assessment_id, mlflow.entities.Feedback(name="good", value=False))
    assert mlflow.get_assessment(trace_id, feedback.assessment_id).value is False
    mlflow.delete_assessment(trace_id, feedback.assessment_id)
    assert [one.name for one in client.get_trace(trace_id).info.assessments] == ["answer"]


def test_traces_of_runs(client, run, experiment):
    trace_id = traced("in a run")
    found = client.search_traces(locations=[experiment.experiment_id], run_id=run.info.run_id)
    assert [one.info.trace_id for one in found] == [trace_id]


def test_traces_are_deleted(client, experiment):
    ids = [traced(f"delete {n}") for n in range(2)]
    assert client.delete_traces(experiment.experiment_id, trace_ids=ids[:1]) == 1
    left = {one.info.trace_id for one in client.search_traces(locations=[experiment.experiment_id])}
    assert ids[0] not in left and ids[1] in left
    with refused("RESOURCE_DOES_NOT_EXIST"):
        client._tracing_client.get_trace_info(ids[0])


def test_clients_before_mlflow_3(client, experiment):
    pair = [{"key": "mlflow.traceName", "value": "old"}]
    begun = {"experiment_id": experiment.experiment_id, "timestamp_ms": 1000, "request_metadata": [{"key": "m", "value": "n"}], "tags": pair}
    status, answer = call("POST", "/api/2.0/mlflow/traces", begun)
    trace_id = answer["trace_info"]["request_id"]
    assert (status, answer["trace_info"]["status"]) == (200, "IN_PROGRESS")
    ended = {"timestamp_ms": 1250, "status": "OK", "request_metadata": [], "tags": [{"key": "a", "value": "b"}]}
    status, answer = call("PATCH", f"/api/2.0/mlflow/traces/{trace_id}", ended)
    info = answer["trace_info"]
    assert (status, info["status"], int(info["execution_time_ms"])) == (200, "OK", 250)
    tags = {tag["key"]: tag["value"] for tag in info["tags"]}
    assert tags["a"] == "b" and tags["mlflow.traceName"] == "old" and trace_id in tags["mlflow.artifactLocation"]
    assert {"key": "m", "value": "n"} in info["request_metadata"]
    assert call("PATCH", "/api/2.0/mlflow/traces/none", ended)[0] == 404
