"""The faults of a run on the Kubernetes cluster that --cluster names, by kubectl and docker, and what it must say."""

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from tests.faults.embedded import BASELINE_TRAINS, DEAD, WORKERS_TRAIN, alone
from tests.faults.fault import Fault, tell, variables
from tests.faults.suite_run import ROOT, SMALL

QUOTA = '{"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}'
KILL_RANK = """
import contextlib, os, pathlib
for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    with contextlib.suppress(OSError):  # a process that has ended meanwhile
        title = file.read_bytes()
        if title.startswith(b"ray::") and b"RayTrainWorker" in title:
            os.kill(int(file.parent.name), 9)
"""
HEAD, WORKER = "ray.io/node-type=head", "ray.io/node-type=worker"


@dataclass(frozen=True)
class Rig:
    """The cluster under test.

    Attributes:
        cluster: value of --cluster.
        options: of pytest and of `python -m fixtures`, that name it.
        kubectl_options: that name it.
    """

    cluster: str
    options: tuple[str, ...]
    kubectl_options: tuple[str, ...]
    namespace: str
    environ: Mapping[str, str]

    def call(self, verb: str) -> None:
        """Call a verb of `python -m fixtures`."""
        subprocess.run([sys.executable, "-m", "fixtures", verb, *self.options], cwd=ROOT, env=self.environ, check=True)

    def kubectl(self, *arguments: str, given: str = "") -> list[str]:
        """Run kubectl in the suite's namespace, and return the words that it printed."""
        command = ("kubectl", *self.kubectl_options, "--namespace", self.namespace, *arguments)
        done = subprocess.run(command, env=self.environ, input=given, check=True, capture_output=True, text=True)
        return done.stdout.split()

    def pod(self, label: str) -> str:
        """Return a pod of this label."""
        return self.kubectl("get", "pods", "--selector", label, "--output=name")[0]

    @cached_property
    def nodes(self) -> list[str]:
        """The nodes, the control plane first, as they were when first asked for: later it may not answer.

        Of Minikube and kind they are containers of the same names.
        """
        names = self.kubectl("get", "nodes", "--sort-by=.metadata.creationTimestamp", "--output=name")
        return [name.removeprefix("node/") for name in names]


@dataclass(frozen=True)
class KubernetesFault:
    """A fault, what makes it, and what makes it good again.

    Attributes:
        make: called at the fault's moment; before the run where it has none.
        needs_docker: whether the nodes must be containers of this machine.
    """

    fault: Fault
    make: Callable[[Rig], object] = lambda rig: None
    mend: Callable[[Rig], object] = lambda rig: None
    needs_docker: bool = False


def docker(verb: str, number: int) -> Callable[[Rig], object]:
    """Stop, start, pause or unpause a node."""
    return lambda rig: subprocess.run(["docker", verb, rig.nodes[number]], check=True, capture_output=True)


def delete(*arguments: str) -> Callable[[Rig], object]:
    """Delete objects without waiting for their end."""
    return lambda rig: rig.kubectl("delete", "--wait=false", *arguments)


def start_anew(then: Callable[[Rig], object]) -> Callable[[Rig], object]:
    """Remove the RayCluster, so that the run starts one, and do something before it does."""

    def make(rig: Rig) -> None:
        rig.kubectl("delete", "raycluster", "--all")
        then(rig)

    return make


def cordon(verb: str) -> Callable[[Rig], object]:
    """Close all nodes for new pods, or open them again."""
    return lambda rig: [rig.kubectl(verb, name) for name in rig.kubectl("get", "nodes", "--output=name")]


def scale_operator(replicas: int) -> Callable[[Rig], object]:
    """Scale the operator."""
    selector = "app.kubernetes.io/name=kuberay-operator"
    return lambda rig: rig.kubectl("scale", "deployment", "--selector", selector, f"--replicas={replicas}")


ON_KUBERNETES = (
    KubernetesFault(
        Fault(
            "a worker pod is deleted",
            "[Ww]orker pod .* (was|is being) deleted",
            "cluster-changed",
            moment=WORKERS_TRAIN,
        ),
        lambda rig: rig.kubectl("delete", "--wait=false", rig.pod(WORKER)),
    ),
    KubernetesFault(
        Fault(
            "the head pod is deleted",
            "[Hh]ead pod .* (was|is being) deleted",
            "cluster-changed",
            moment=BASELINE_TRAINS,
        ),
        lambda rig: rig.kubectl("delete", "--wait=false", rig.pod(HEAD)),
    ),
    KubernetesFault(
        Fault("the RayCluster is deleted", "RayCluster e2e was deleted", "cluster-changed", moment=BASELINE_TRAINS),
        delete("raycluster", "--all"),
    ),
    KubernetesFault(
        Fault("a rank is killed", r"rank \d was lost: its process \d+ died", "rank-lost", moment=WORKERS_TRAIN),
        lambda rig: rig.kubectl("exec", rig.pod(WORKER), "--", "python", "-c", KILL_RANK),
    ),
    KubernetesFault(
        Fault("a quota allows no pods", "exceeded quota: none", "raycluster-refused"),
        start_anew(lambda rig: rig.kubectl("apply", "--filename=-", given=QUOTA)),
        lambda rig: rig.kubectl("delete", "--ignore-not-found", "resourcequota", "none"),
    ),
    KubernetesFault(
        Fault("all nodes are cordoned", "cordoned|unschedulable|take no pods", "no-room"),
        start_anew(cordon("cordon")),
        cordon("uncordon"),
    ),
    KubernetesFault(
        Fault(
            "the image is not there",
            "has no image localhost/nothing:none|Image localhost/nothing:none is not on",
            "image-not-on-node",
            options=("--image=localhost/nothing:none",),
        ),
        start_anew(lambda rig: None),
    ),
    KubernetesFault(Fault("there are too few cores", "64 workers x .* CPU", "no-room", options=("--workers=64",))),
    KubernetesFault(
        alone("the operator is scaled to 0 before the run", says="KubeRay operator .* is available"),
        start_anew(scale_operator(0)),
        scale_operator(1),
    ),
    KubernetesFault(
        alone(
            "Prometheus's image is not there",
            says="e2e-prometheus does not run: .*nothing:none",
            options=("--prometheus-image=localhost/nothing:none", "--monitoring", "-k", "baseline", *SMALL),
        ),
    ),
    KubernetesFault(alone("proxies are dead", prepare=variables(http_proxy=DEAD, https_proxy=DEAD))),
    KubernetesFault(
        Fault(
            "SIGTERM to pytest", "terminated by SIGTERM", code=143, moment=BASELINE_TRAINS, inject=tell(signal.SIGTERM)
        )
    ),
    KubernetesFault(
        Fault(
            "the control plane is paused",
            r"[Nn]ode .* \(paused\) does not run any more",
            "cluster-changed",
            moment=WORKERS_TRAIN,
        ),
        docker("pause", 0),
        docker("unpause", 0),
        needs_docker=True,
    ),
    KubernetesFault(  # the last, since Minikube has to start a node that was stopped anew
        Fault("a node is stopped", "[Nn]ode .* does not run any more", "cluster-changed", moment=WORKERS_TRAIN),
        docker("stop", -1),
        docker("start", -1),
        needs_docker=True,
    ),
)
