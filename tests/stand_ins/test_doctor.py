"""The doctor names everything that is missing at once, and how to get it."""

import importlib.metadata
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.cli import doctor
from fixtures.cli.doctor import Diagnosis, examine, pinned_packages
from fixtures.clusters.contract import Problem
from fixtures.settings.kubernetes import KubernetesSettings
from fixtures.settings.settings import Settings
from fixtures.system.resources import GIB, Machine
from tests.contract.fake import FakeProvider
from tests.stand_ins.stand_in import StandIns

ROOT = Path(__file__).resolve().parents[2]
AMPLE = Machine(cores=tuple(range(16)), quota=None, memory=64 * GIB, disk=200 * GIB)
PINS = pinned_packages(ROOT)


def works(environ: Mapping[str, str]) -> str:
    return ""


# What the real programs print.
KUBECTL = "Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0\n"
KIND = "kind v0.30.0 go1.26.8 linux/amd64\n"
INFO = {"ServerVersion": "20.10.24+dfsg1", "CgroupVersion": "1", "NCPU": 16, "MemTotal": 64 * GIB}
SERVER = {"clientVersion": {"gitVersion": "v1.34.4"}, "serverVersion": {"gitVersion": "v1.34.4"}}


class Clinic:
    """A machine with programs, as the doctor sees it.

    Attributes:
        broken: why TensorFlow cannot be imported.
    """

    broken = ""

    def __init__(self, place: Path, *programs: str) -> None:
        self.stand_ins = StandIns(place, programs)
        (place / "bin" / "cat").symlink_to("/bin/cat")  # all that a stand-in needs; real programs stay unseen
        for name, said in {
            "docker version": "28.2.2\n",
            "docker info": json.dumps(INFO),
            "minikube version": "v1.38.1\n",
            "helm version": "v3.19.0+g3d8990f\n",
            "kubectl version --client": KUBECTL,
            "kind version": KIND,
        }.items():
            if name.split()[0] in programs:
                self.stand_ins.answer(name, said)

    def examine(
        self, cluster: str = "minikube", *problems: Problem, machine: Machine = AMPLE, **kubernetes: object
    ) -> Diagnosis:
        settings = Settings(cluster=cluster, kubernetes=replace(KubernetesSettings(), **kubernetes))  # type: ignore[arg-type]
        return examine(
            settings,
            FakeProvider(2, 1, problems=problems),
            {**self.stand_ins.environ, "PATH": f"{self.stand_ins.place}/bin"},
            ROOT,
            read=lambda _: machine,
            version=lambda name: PINS[name],
            import_tensorflow=lambda environ: self.broken,
        )


EVERYTHING = ("docker", "minikube", "kubectl", "helm", "kind")


def states(diagnosis: Diagnosis) -> dict[str, str]:
    return {check.what: check.state for check in diagnosis.checks}


def problems(diagnosis: Diagnosis) -> list[str]:
    return [problem.what for problem in diagnosis.problems]


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    """A machine with every program."""
    return Clinic(tmp_path, *EVERYTHING)


@pytest.mark.parametrize("cluster", ["local", "minikube", "kind"])
def test_a_machine_with_everything_is_ready(clinic: Clinic, cluster: str) -> None:
    found = clinic.examine(cluster)

    assert found.ready, found.as_text()
    assert set(states(found).values()) == {"ok"}
    assert found.as_text().endswith(f"\nready for --cluster={cluster}")


def test_a_tensorflow_that_cannot_be_imported_keeps_an_embedded_cluster_from_starting(clinic: Clinic) -> None:
    clinic.broken = "ImportError: libstdc++.so.6: version `GLIBCXX_3.4.29' not found"

    found = clinic.examine("local")

    assert problems(found) == [f"{sys.executable} cannot import TensorFlow: {clinic.broken}"]
    assert found.problems[0].remedy.endswith("(see TROUBLESHOOTING: tensorflow-unusable)")
    assert clinic.examine("kind").ready, "there the image has it"


@pytest.mark.parametrize(
    ("module", "why"),
    [
        ("", ""),
        ("raise ImportError('GLIBC_2.38 is not there')", "ImportError: GLIBC_2.38 is not there"),
        ("import os\nos.kill(os.getpid(), 4)", "SIGILL: "),
    ],
    ids=["works", "fails", "dies of an instruction that this processor lacks"],
)
def test_tensorflow_is_imported_as_a_trial_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, why: str
) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "__init__.py").touch()
    (tmp_path / "trainer" / "deferred.py").write_text("def import_tensorflow():\n    import tensorflow\n")
    (tmp_path / "tensorflow.py").write_text(f"{module}\n")
    monkeypatch.setattr(doctor, "IMAGE", tmp_path)

    assert doctor.try_tensorflow({}) == why


def test_each_cluster_is_asked_for_its_own_programs(clinic: Clinic) -> None:
    programs = {"docker", "minikube", "kind", "kubectl", "helm"}

    asked = {cluster: programs & set(states(clinic.examine(cluster))) for cluster in ("local", "minikube", "kind")}

    assert asked == {"local": set(), "minikube": programs - {"kind"}, "kind": programs - {"minikube"}}


def test_the_versions_that_were_found_and_needed_stand_side_by_side(clinic: Clinic) -> None:
    rows = [line.split(maxsplit=3) for line in clinic.examine().as_text().splitlines()]

    assert ["ok", "minikube", "v1.38.1", "1.38 or later"] in rows
    assert ["ok", "helm", "v3.19.0+g3d8990f", "3.14 or later"] in rows
    assert ["ok", "ray", PINS["ray"], PINS["ray"]] in rows


def test_all_that_is_missing_is_said_at_once_with_its_remedy(tmp_path: Path) -> None:
    found = Clinic(tmp_path, "docker").examine()

    assert not found.ready
    assert problems(found) == [f"{name} is not on PATH." for name in ("minikube", "kubectl", "helm")]
    assert found.problems[0].remedy == "`python -m fixtures prerequisites minikube` installs it."
    assert "\n3 to be put right:\n1. minikube is not on PATH. `python -m fixtures" in found.as_text()


def test_what_a_run_would_refuse_the_doctor_refuses_and_says_it_once(tmp_path: Path) -> None:
    refused = (Problem("helm is not on PATH.", "The provider's remedy."), Problem("The moon is full.", "Wait."))

    found = Clinic(tmp_path, "docker", "minikube", "kubectl").examine("minikube", *refused)

    assert found.problems == refused


@pytest.mark.parametrize(
    ("command", "answer", "problem"),
    [
        ("helm version", {"out": "v3.9.0\n"}, "helm is v3.9.0, 3.14 or later is needed."),
        ("helm version", {"code": 1}, "helm is of an unknown version, 3.14 or later is needed."),
        ("docker info", {"err": "No daemon.\n", "code": 1}, r"Docker does not answer: .*No daemon\."),
    ],
    ids=["too old", "says nothing", "does not answer"],
)
def test_a_program_that_does_not_answer_well_is_named(
    clinic: Clinic, command: str, answer: dict[str, Any], problem: str
) -> None:
    clinic.stand_ins.answer(command, **answer)

    (found,) = problems(clinic.examine())

    assert re.match(problem, found)


def test_kubernetes_that_refuses_this_hosts_cgroups_is_found_before_its_start(clinic: Clinic) -> None:
    assert problems(clinic.examine(kubernetes_version="v1.35.1")) == [
        "Kubernetes v1.35.1 does not start on a host with cgroup v1."
    ]
    clinic.stand_ins.answer("docker info", json.dumps({**INFO, "CgroupVersion": "2"}))
    assert clinic.examine(kubernetes_version="v1.35.1").ready


def test_few_cores_are_no_obstacle_and_what_follows_is_said(clinic: Clinic) -> None:
    found = clinic.examine(machine=replace(AMPLE, cores=(0, 1)))

    assert found.ready
    assert states(found)["cores"] == "short"
    assert found.notes == ("the speedup needs 3 cores and will be NOT APPLICABLE; accuracy and same work are checked.",)


def test_little_memory_and_disk_are_shown_short(clinic: Clinic) -> None:
    found = clinic.examine(machine=replace(AMPLE, memory=GIB, disk=GIB))

    assert (states(found)["memory"], states(found)["disk"]) == ("short", "short")
    assert "--  memory" in found.as_text()


def test_the_cluster_of_a_context_is_asked_for_its_version(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path, "kubectl", "helm")
    clinic.stand_ins.answer("kubectl version --output=json", json.dumps(SERVER))
    found = clinic.examine("context", image="example.org/me:1", kube_context="lab")

    assert found.ready, found.as_text()
    assert [check.found for check in found.checks if check.what == "the cluster"] == ["v1.34.4"]
    assert "docker" not in states(found)
    assert any("--context lab" in call for call in clinic.stand_ins.calls("kubectl"))


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ({"gitVersion": "v1.28.0"}, "Kubernetes is v1.28.0, 1.29 or later is needed."),
        ({}, "The cluster does not answer: "),
    ],
)
def test_a_context_whose_cluster_is_old_or_silent_is_found(
    tmp_path: Path, server: dict[str, str], message: str
) -> None:
    clinic = Clinic(tmp_path, "kubectl", "helm")
    clinic.stand_ins.answer("kubectl version --output=json", json.dumps({**SERVER, "serverVersion": server}))

    (problem,) = problems(clinic.examine("context", image="example.org/me:1"))

    assert problem.startswith(message)


def test_without_a_kubeconfig_nobody_is_asked_and_it_is_counted_once(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path, "kubectl", "helm")
    absent = Problem("There is no kubeconfig at /nowhere.", "Set KUBECONFIG.", see="kubeconfig")

    assert problems(clinic.examine("context", absent, image="example.org/me:1")) == [absent.what]
    assert not [call for call in clinic.stand_ins.calls("kubectl") if "--output=json" in call]


def test_packages_of_other_versions_are_named(tmp_path: Path) -> None:
    def version(name: str) -> str:
        if name == "psutil":
            raise importlib.metadata.PackageNotFoundError
        return "0.1" if name == "ray" else PINS[name]

    found = examine(
        Settings(), FakeProvider(2, 1), {}, ROOT, read=lambda _: AMPLE, version=version, import_tensorflow=works
    )

    expected = f"{sys.executable} has not the versions of constraints.txt: "
    assert problems(found) == [f"{expected}ray.", f"{expected}psutil."]


def test_data_that_is_only_a_pointer_is_found(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text("utf-8"), "utf-8")
    (tmp_path / "image/data").mkdir(parents=True)
    (tmp_path / "image/data/mnist.npz").write_text("version https://git-lfs")

    found = examine(
        Settings(),
        FakeProvider(2, 1),
        {},
        tmp_path,
        read=lambda _: AMPLE,
        version=lambda name: PINS[name],
        import_tensorflow=works,
    )

    assert problems(found) == [f"{tmp_path}/image/data/mnist.npz is missing, or only a pointer to the file."]


def test_the_diagnosis_as_json_is_one_object(tmp_path: Path) -> None:
    found = json.loads(Clinic(tmp_path, "docker").examine().as_json())

    assert (found["cluster"], found["ready"]) == ("minikube", False)
    assert {"what": "helm", "found": "none", "needed": "3.14 or later", "state": "missing"} in found["checks"]
    assert found["missing"][2] == {
        "what": "helm is not on PATH.",
        "remedy": "`python -m fixtures prerequisites helm` installs it.",
    }


def test_the_real_machine_is_ready_for_the_embedded_cluster() -> None:
    found = examine(Settings(), FakeProvider(2, 1), {}, ROOT, import_tensorflow=works)

    assert found.ready, found.as_text()
