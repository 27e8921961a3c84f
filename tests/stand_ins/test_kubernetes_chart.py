"""The operator's chart: downloaded once and whole, or given by the user, and always of a version that fits."""

import io
import tarfile
from pathlib import Path

import pytest

from fixtures.clusters.kubernetes.operator import chart
from fixtures.clusters.kubernetes.operator.crds import Definition
from fixtures.errors import InfraError
from tests.stand_ins.fake_helm import NAME, FakeHelm
from tests.stand_ins.fake_kubernetes import FakeKubernetes


@pytest.fixture
def helm() -> FakeHelm:
    """A Helm whose downloads are whole."""
    helm = FakeHelm(FakeKubernetes())
    helm.pulls = lambda folder: make(folder / NAME)
    return helm


def make(folder: Path, *, name: str = NAME, version: str = "1.7.0", crds: int = 1) -> None:
    (folder / "crds").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(f"name: {name}\nversion: {version}\n")
    for index in range(crds):
        (folder / "crds" / f"{index}.yaml").write_text("kind: CustomResourceDefinition\n")


def packed(folder: Path, file: Path) -> Path:
    with tarfile.open(file, "w:gz") as out:
        out.add(folder, arcname=NAME)
    return file


def test_the_public_chart_is_downloaded_in_our_version_and_kept_for_the_next_run(
    helm: FakeHelm, tmp_path: Path
) -> None:
    found = chart.fetch(helm, tmp_path / "cache")

    assert chart.fetch(helm, tmp_path / "cache") == found
    (asked,) = helm.asked
    assert asked[:-1] == (
        "pull", NAME, "--repo", "https://ray-project.github.io/kuberay-helm/", "--version", "1.7.0",
        "--untar", "--untardir",
    )  # fmt: skip
    assert found.version == "1.7.0"
    assert [file.name for file in found.crds] == ["0.yaml"]
    assert [each.name for each in (tmp_path / "cache").iterdir()] == ["kuberay-operator-1.7.0"]


def test_a_download_that_breaks_off_leaves_nothing_that_a_later_run_could_take_for_a_chart(
    helm: FakeHelm, tmp_path: Path
) -> None:
    def break_off(folder: Path) -> None:
        make(folder / NAME, crds=0)
        raise InfraError("`helm pull` did not end within 120 s.")

    helm.pulls = break_off
    with pytest.raises(InfraError, match="cannot be downloaded: `helm pull` did not end within 120 s"):
        chart.fetch(helm, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_chart_that_another_run_downloaded_at_the_same_time_is_as_good(helm: FakeHelm, tmp_path: Path) -> None:
    def race(folder: Path) -> None:
        make(folder / NAME)
        make(tmp_path / "kuberay-operator-1.7.0")

    helm.pulls = race

    assert chart.fetch(helm, tmp_path).version == "1.7.0"


def test_a_folder_that_the_user_gives_is_used_where_it_is(helm: FakeHelm, tmp_path: Path) -> None:
    make(tmp_path / "mine", version="1.7.3")

    found = chart.fetch(helm, tmp_path / "cache", tmp_path / "mine")

    assert found == chart.Chart(tmp_path / "mine", "1.7.3")
    assert helm.asked == []


def test_a_packed_chart_is_unpacked_anew_when_its_file_has_changed(helm: FakeHelm, tmp_path: Path) -> None:
    make(tmp_path / "one")
    make(tmp_path / "two", version="1.7.1")
    first = chart.fetch(helm, tmp_path / "cache", packed(tmp_path / "one", tmp_path / "chart.tgz"))
    again = chart.fetch(helm, tmp_path / "cache", tmp_path / "chart.tgz")
    other = chart.fetch(helm, tmp_path / "cache", packed(tmp_path / "two", tmp_path / "chart.tgz"))

    assert first == again
    assert (first.version, other.version) == ("1.7.0", "1.7.1")


def test_a_packed_chart_writes_nowhere_else(helm: FakeHelm, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tgz", "w:gz") as out:
        out.addfile(tarfile.TarInfo(f"{NAME}/../../../stolen"), io.BytesIO())

    with pytest.raises(InfraError, match="is not a packed Helm chart"):
        chart.fetch(helm, tmp_path / "a" / "cache", tmp_path / "evil.tgz")

    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"name": "ray-cluster"}, "is ray-cluster, not kuberay-operator"),
        ({"version": "1.4.2"}, "is of KubeRay 1.4.2; 1.7.0 is needed"),
        ({"crds": 0}, "has no CustomResourceDefinitions in crds/"),
    ],
)
def test_a_chart_that_does_not_fit_is_refused_with_what_would_fit(
    made: dict[str, object], said: str, helm: FakeHelm, tmp_path: Path
) -> None:
    make(tmp_path / "mine", **made)  # type: ignore[arg-type]

    with pytest.raises(InfraError, match=said) as caught:
        chart.fetch(helm, tmp_path, tmp_path / "mine")

    assert "--kuberay-chart" in caught.value.remedy


@pytest.mark.parametrize("content", [None, "", "- a list", "name: x", "a: [", "\x00"])
def test_what_is_no_chart_is_refused(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "Chart.yaml").write_text(content)

    with pytest.raises(InfraError, match="is not a Helm chart"):
        chart.read(tmp_path)


def test_a_file_that_is_no_definition_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("kind: Deployment\nmetadata:\n  name: a\n")

    with pytest.raises(InfraError, match=r"a.yaml is not a CustomResourceDefinition"):
        Definition.read(tmp_path / "a.yaml")
