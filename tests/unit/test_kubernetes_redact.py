"""Evidence carries no secret, no noise, and not more than a report can hold."""

import base64

import pytest

from fixtures.clusters.kubernetes.diagnosis.redact import HIDDEN, as_json, bounded, cleaned, cut, redacted, timeline
from tests.unit.recordings import sample

TOKEN = "4f1c9a77d0e2"


@pytest.mark.parametrize(
    "line",
    [
        f"Authorization: Bearer {TOKEN}",
        f"RAY_AUTH_TOKEN={TOKEN}",
        f'{{"auth_token": "{base64.b64encode(TOKEN.encode()).decode()}"}}',
        f"http://h:8265/?token={TOKEN}&x",
    ],
)
def test_the_token_is_in_no_text_however_it_is_written(line: str) -> None:
    said = redacted(f"before {line} after", (TOKEN,))

    assert TOKEN not in said
    assert base64.b64encode(TOKEN.encode()).decode() not in said
    assert said.startswith("before ")
    assert said.endswith(" after")


@pytest.mark.parametrize(
    ("line", "hidden"),
    [
        ("DB_PASSWORD=hunter22 next", "hunter22"),
        ("AWS_SECRET_ACCESS_KEY: abcd1234", "abcd1234"),
        ("'GITHUB_TOKEN': 'ghp_0123456789'", "ghp_0123456789"),
        ("authorization: bearer abcdefgh.ijkl", "abcdefgh.ijkl"),
        ("auth_token = s3cr3t-value", "s3cr3t-value"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----", "MIIB"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_although_nobody_named_it(line: str, hidden: str) -> None:
    assert hidden not in redacted(line, ())


@pytest.mark.parametrize(
    "line",
    [
        "the keyboard: qwerty",
        "key: value",
        "tokens per second: 1234",
        "raylet.out: killed, exit code 137",
        "CUDA_VISIBLE_DEVICES=0,1,2,3",
    ],
)
def test_ordinary_lines_stay_as_they_are(line: str) -> None:
    assert redacted(line, (TOKEN, "")) == line


def test_the_values_of_a_secret_and_of_variables_that_sound_like_one_are_hidden() -> None:
    secret = {"kind": "Secret", "data": {"auth_token": "YWJj"}, "stringData": {"x": "y"}, "type": "Opaque"}
    pod = {"env": [{"name": "RAY_AUTH_TOKEN", "value": "abc"}, {"name": "RAY_PORT", "value": "6379"}]}

    assert cleaned(secret) == {
        "kind": "Secret", "data": {"auth_token": HIDDEN}, "stringData": {"x": HIDDEN}, "type": "Opaque",
    }  # fmt: skip
    assert cleaned(pod)["env"] == [{"name": "RAY_AUTH_TOKEN", "value": HIDDEN}, {"name": "RAY_PORT", "value": "6379"}]


def test_where_a_variable_gets_its_secret_from_is_told_since_a_missing_one_is_a_cause() -> None:
    found = as_json(sample("pods-auth.json"))

    assert '"key": "auth_token"' in found
    assert "secretKeyRef" in found


def test_noise_is_left_out_and_nothing_else() -> None:
    pod = {
        "metadata": {
            "name": "a",
            "managedFields": [{"manager": "x"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{secret}", "b": "c"},
        },
        "status": {"phase": "Running", "restarts": 0, "ready": False, "nothing": None},
    }

    assert cleaned(pod) == {
        "metadata": {"name": "a", "annotations": {"b": "c"}},
        "status": {"phase": "Running", "restarts": 0, "ready": False, "nothing": None},
    }


def test_events_are_in_order_and_one_that_came_again_is_one_line_with_its_count() -> None:
    lines = timeline(sample("events-unschedulable.json")["items"]).splitlines()

    assert [line.split()[0] for line in lines] == sorted(line.split()[0] for line in lines)
    (failed,) = [line for line in lines if "FailedScheduling" in line and "demo-head" in line]
    assert failed.endswith("(x2)")
    assert "0/2 nodes are available: 2 Insufficient cpu" in failed
    assert "nothing known" in timeline([{"message": "nothing\nknown"}])
    assert timeline([]) == ""


def test_of_a_log_the_end_is_kept_and_of_an_object_the_beginning() -> None:
    texts = {"a.txt": "old " * 100 + "new", "b.json": '{"kind": 1' + " " * 400}

    found = bounded(texts, each=100, total=1000)

    assert found["a.txt"].endswith("new")
    assert found["b.json"].startswith('{"kind": 1')
    assert all(len(each.encode()) <= 100 for each in found.values())
    assert all("bytes and this line's left out" in each for each in found.values())


def test_the_whole_is_bounded_and_the_first_files_are_the_ones_that_stay() -> None:
    found = bounded({"1.txt": "x" * 90, "2.txt": "y" * 90, "3.txt": "z" * 90}, each=90, total=200)

    assert found["1.txt"] == "x" * 90
    assert sum(len(each.encode()) for each in found.values()) <= 200


@pytest.mark.parametrize("size", [0, 1, 10, 40, 41, 42, 60])
def test_no_cut_is_longer_than_it_may_be_also_within_a_character(size: int) -> None:
    for end in (True, False):
        assert len(cut("€" * 50, size, end=end).encode()) <= size
    assert cut("€" * 20, 60, end=True) == "€" * 20
