"""From the options to a provider on Kubernetes, and a whole run of the suite with one."""

import contextlib
import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.analysis.measurement import Run
from fixtures.clusters.factory import make_provider as make_named
from fixtures.clusters.kubernetes.engines.context import ContextEngine
from fixtures.clusters.kubernetes.engines.kind import KindEngine
from fixtures.clusters.kubernetes.engines.minikube import MinikubeEngine
from fixtures.clusters.kubernetes.factory import make_engine, make_provider
from fixtures.clusters.kubernetes.provider import KubernetesProvider
from fixtures.measure import trials
from fixtures.plugin import suite
from fixtures.settings.kubernetes import KUBERNETES_OPTIONS, KubernetesSettings
from fixtures.settings.settings import build
from tests.contract.fake import FakeProvider
from tests.stand_ins import kubernetes_world as played
from tests.stand_ins.fake_kuberay import DIGEST
from tests.unit.fake_jobs import FakeJobs, FakeWatch

pytest_plugins = ["pytester"]

E2E = Path(__file__).parents[1] / "e2e" / "test_e2e.py"
SHORT = ("--rounds=3", "--batch-size=6000")
UNUSED = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")


def test_every_option_of_a_cluster_reaches_its_engine(tmp_path: Path) -> None:
    settings = KubernetesSettings(profile="mine", nodes=3, namespace="space", kube_context="prod")
    environ = {"HOME": str(tmp_path)}
    file = tmp_path / "config"

    minikube = make_engine("minikube", settings, environ, file)
    kind = make_engine("kind", settings, environ, file)
    context = make_engine("context", settings, environ, file)

    assert isinstance(minikube, MinikubeEngine)
    assert (minikube.profile, minikube.context) == ("mine", "mine")
    assert minikube.kubeconfig != file, "Minikube writes into a file of its own"
    assert isinstance(kind, KindEngine)
    assert (kind.profile, kind.context, kind.kubeconfig) == ("mine", "kind-mine", file)
    assert kind.image is None, "kind chooses, unless a version is asked for"
    kind = make_engine("kind", replace(settings, kubernetes_version="v1.34.4"), environ, file)
    assert isinstance(kind, KindEngine)
    assert kind.image == "kindest/node:v1.34.4"
    assert isinstance(context, ContextEngine)
    assert (context.context, context.kubeconfig) == ("prod", file)
    assert make_engine("context", KubernetesSettings(), environ).context is None


@pytest.mark.parametrize("name", ["minikube", "kind", "context"])
def test_a_provider_is_made_without_starting_or_writing_anything(tmp_path: Path, name: str) -> None:
    provider = make_provider(name, KubernetesSettings(), 2, 1, {"HOME": str(tmp_path), "PATH": ""})

    assert (provider.name, provider.owned) == (name, name != "context")
    assert provider.trouble() == "The cluster is not up."
    assert list(tmp_path.iterdir()) == []


def test_the_suite_makes_the_provider_that_the_option_names_with_room_for_the_largest_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path), "PATH": ""})
    values = {"cluster": "minikube", "workers": "2,4", "namespace": "space", "reports": str(tmp_path)}

    provider = make_named(build(values, {}), os.environ)

    assert isinstance(provider, KubernetesProvider)
    plan = provider.plan
    assert (provider.name, plan.workers, plan.cpus, plan.namespace) == ("minikube", 4, 1, "space")


def run_suite(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    pytester.makeini("[pytest]\nmarkers =\n    e2e: on a cluster that is played\n")
    pytester.makeconftest('pytest_plugins = ["fixtures.plugin.options", "fixtures.plugin.suite"]')
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.e2e
        def test_one(provider, settings):
            assert provider.up(print).nodes
        """
    )
    return pytester.runpytest_inprocess("-m", "e2e", "--reports=out", *UNUSED, *options)


def test_a_run_on_kubernetes_shows_its_options_and_a_run_here_does_not(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def made(settings: object, environ: object, kubeconfig: Path | None = None) -> FakeProvider:
        asked.append(settings.cluster)  # type: ignore[attr-defined]
        return FakeProvider(2, 1)

    monkeypatch.setattr(suite, "make_provider", made)
    monkeypatch.delattr(suite, "pytest_runtestloop")  # would take SIGTERM from the pytest that runs this test

    away = run_suite(pytester, "--cluster=minikube", "--nodes=3")
    here = run_suite(pytester)

    for each in (away, here):
        each.assert_outcomes(passed=1)
    assert asked == ["minikube", "local"]
    (shown,) = [line for line in away.outlines if line.startswith("ray-train-e2e:")]
    (plain,) = [line for line in here.outlines if line.startswith("ray-train-e2e:")]
    flags = [option.flag.removeprefix("--") for option in KUBERNETES_OPTIONS]
    assert all(f" {flag}=" in shown for flag in flags)
    assert "nodes=3" in shown
    assert not any(f" {flag}=" in plain for flag in flags)


class Impatient(FakeProvider):
    """Whose evidence somebody interrupts."""

    removed = False

    def collect_evidence(self, into: Path, cause: str = "") -> None:
        raise KeyboardInterrupt

    def down(self) -> None:
        self.removed = True


def test_an_interrupt_while_evidence_is_collected_does_not_leave_the_cluster(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = Impatient(2, 1, fails="No cluster today.")
    monkeypatch.setattr(suite, "make_provider", lambda *_: provider)
    monkeypatch.delattr(suite, "pytest_runtestloop")

    with contextlib.suppress(KeyboardInterrupt):
        run_suite(pytester)

    assert provider.removed


def test_the_evidence_begins_with_what_the_run_ended_with(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suite, "make_provider", lambda *_: FakeProvider(2, 1, fails="Quota is exceeded."))
    monkeypatch.delattr(suite, "pytest_runtestloop")

    run_suite(pytester)

    summary = (pytester.path / "out" / "evidence" / "SUMMARY.md").read_text()
    assert summary.startswith("**The run ended with:** Quota is exceeded. Give the fake no failure.")


def test_the_end_to_end_tests_are_the_same_on_kubernetes(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    FakeWatch.found = []
    monkeypatch.setattr(trials, "Watch", FakeWatch)
    monkeypatch.setattr(suite, "JobsClient", lambda *_: nullcontext(FakeJobs()))
    monkeypatch.delattr(suite, "pytest_runtestloop")
    pytester.makeini("[pytest]\nmarkers =\n    e2e: on a cluster that is played\n")
    pytester.makeconftest('pytest_plugins = ["fixtures.plugin"]')
    pytester.makepyfile(test_e2e=E2E.read_text())
    with played.world(tmp_path, monkeypatch) as world:
        monkeypatch.setattr(suite, "make_provider", lambda *_: world.provider())

        ran = pytester.runpytest_inprocess("-m", "e2e", "--reports=out", *UNUSED, "--cluster=minikube", *SHORT)

        ran.assert_outcomes(passed=2)
        assert {each.split()[0] for each in world.server.everything()} == {"nodes"}
        assert world.steps[-1] == "remove cluster"
    measured = Run.from_json((pytester.path / "out" / "results" / "measurements.json").read_text())
    assert measured.cluster.provider == "minikube"
    assert measured.cluster.image == DIGEST
    assert measured.settings.cluster == "minikube"
    ran.stdout.fnmatch_lines(["*Ray is up after * (minikube * s, operator * s, image * s, RayCluster * s, *"])
