"""What goes together is known before anything is started, and everything that does not is said at once."""

from typing import Any

import pytest

from fixtures.clusters.kubernetes.operator.versions import OPERATOR, handshake, minor, operator_fits

FITTING: dict[str, Any] = {
    "client_ray": "2.60.0",
    "image_ray": "2.60.0",
    "ray_version_in_manifest": "2.60.0",
    "operator": "1.7.0",
    "kubernetes": "v1.34.4",
    "client_python": "3.11.9",
    "image_python": "3.11.13",
}


def said(**changed: Any) -> list[str]:
    return [problem.what for problem in handshake(**{**FITTING, **changed})]


def test_the_tested_versions_fit_and_everything_that_does_not_is_said_at_once_with_a_remedy() -> None:
    wrong = {"image_ray": "2.55.0", "operator": "1.6.2", "kubernetes": "v1.26.15", "image_python": "3.12.4"}

    problems = handshake(**{**FITTING, **wrong})

    assert said() == []
    assert operator_fits(OPERATOR)
    assert len(problems) == 5, "the image's Ray is neither the harness's nor the manifest's"
    assert all(problem.remedy for problem in problems)


@pytest.mark.parametrize(
    ("changed", "here", "there"),
    [
        ({"image_ray": "2.55.1", "ray_version_in_manifest": "2.55.1"}, "2.60.0", "2.55.1"),
        ({"ray_version_in_manifest": "2.52.0"}, "2.60.0", "2.52.0"),
        ({"operator": "1.6.2"}, "1.7", "1.6.2"),
        ({"operator": "1.8.0"}, "1.7", "1.8.0"),
        ({"kubernetes": "v1.28.3"}, "1.29", "v1.28.3"),
        ({"image_python": "3.12.4"}, "3.11.9", "3.12.4"),
    ],
)
def test_a_problem_names_both_versions(changed: dict[str, str], here: str, there: str) -> None:
    (problem,) = said(**changed)
    assert here in problem
    assert there in problem


@pytest.mark.parametrize("unknown", ["image_ray", "operator", "kubernetes", "image_python"])
def test_what_is_not_known_yet_is_no_problem(unknown: str) -> None:
    assert said(**{unknown: None}) == []


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"operator": "nightly"}, id="an operator that cannot be read"),
        pytest.param({"kubernetes": "nightly"}, id="a Kubernetes that cannot be read"),
        pytest.param({"image_python": "nightly"}, id="a Python that cannot be read"),
        pytest.param({"client_python": "?", "image_python": "?"}, id="two Pythons that cannot be read"),
        pytest.param({"image_ray": None, "ray_version_in_manifest": "2.52.0"}, id="a manifest while no image is known"),
    ],
)
def test_what_cannot_be_compared_is_one_problem(changed: dict[str, Any]) -> None:
    assert len(said(**changed)) == 1


def test_a_manifest_without_a_version_is_a_problem_since_kuberay_would_choose_the_old_probes() -> None:
    (problem,) = said(ray_version_in_manifest="")
    assert "(none)" in problem


@pytest.mark.parametrize("newer", ["v1.35.1", "v1.36.2+k3s1", "v2.0.0"])
def test_a_newer_kubernetes_is_accepted(newer: str) -> None:
    assert said(kubernetes=newer) == []


def test_a_version_is_read_as_the_tools_write_it() -> None:
    assert minor("v1.34.4") == (1, 34)
    assert minor("2.60.0") == (2, 60)
    assert minor("v1.100.0-rc.1") == (1, 100)
    assert minor("latest") is None
