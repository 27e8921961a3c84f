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


def test_the_tested_versions_fit() -> None:
    assert said() == []


def test_everything_that_does_not_fit_is_said_at_once_with_a_remedy_each() -> None:
    problems = handshake(
        client_ray="2.60.0",
        image_ray="2.55.0",
        ray_version_in_manifest="2.60.0",
        operator="1.6.2",
        kubernetes="v1.26.15",
        client_python="3.11.9",
        image_python="3.12.4",
    )

    assert len(problems) == 5
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


def test_a_manifest_is_compared_with_the_harness_while_the_image_is_not_known() -> None:
    assert len(said(image_ray=None, ray_version_in_manifest="2.52.0")) == 1


def test_a_manifest_without_a_version_is_a_problem_since_kuberay_would_choose_the_old_probes() -> None:
    (problem,) = said(ray_version_in_manifest="")
    assert "(none)" in problem


@pytest.mark.parametrize("part", ["operator", "kubernetes", "image_python"])
def test_a_version_that_cannot_be_read_is_a_problem_not_a_match(part: str) -> None:
    assert len(said(**{part: "nightly"})) == 1


def test_two_pythons_that_cannot_be_read_do_not_match() -> None:
    assert len(said(client_python="?", image_python="?")) == 1


@pytest.mark.parametrize("newer", ["v1.35.1", "v1.36.2+k3s1", "v2.0.0"])
def test_a_newer_kubernetes_is_accepted(newer: str) -> None:
    assert said(kubernetes=newer) == []


def test_a_version_is_read_as_the_tools_write_it() -> None:
    assert minor("v1.34.4") == (1, 34)
    assert minor("2.60.0") == (2, 60)
    assert minor("v1.100.0-rc.1") == (1, 100)
    assert minor("latest") is None


def test_the_version_that_we_install_fits() -> None:
    assert operator_fits(OPERATOR)
