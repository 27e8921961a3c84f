"""The faults of a run on the embedded cluster, and what it must say of each."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

from tests.faults.fault import Fault, edit, fill, harmless, limit, mount, send, tell, variables, write
from tests.faults.suite_run import SMALL, WHOLE, Setting, SuiteRun, command_of

STARTING, UP = "starting Ray: ", "Ray is up after "
BASELINE_TRAINS, BASELINE_ENDS = " baseline +epoch 1/2", " baseline +epoch 2/2"
WORKERS_TRAIN = " 2 workers +epoch 1/2"
WHEN = {
    STARTING: "in the start",
    BASELINE_TRAINS: "while the baseline trains",
    BASELINE_ENDS: "while the workers start",
    WORKERS_TRAIN: "while the workers train",
}
"""Moments of a run, by what it prints."""

BASELINE, DRIVER = r"^\S*python\S* -m trainer --workers 0 ", r"^\S*python\S* -m trainer --workers 2 "
RANK, CONTROLLER = "^ray::.*RayTrainWorker", "^ray::.*TrainController"
RAYLET, HEAD_RAYLET = r"raylet/raylet .*--node-name=worker-1\b", r"raylet/raylet .*--node-name=head\b"
GCS, DASHBOARD = "gcs_server", r"dashboard/dashboard\.py"
"""Processes of a run, by their command lines."""

MNIST, TRAINING = "image/data/mnist.npz", "image/trainer/training.py"
THREADS, PRINT = "    configure_threads(work", "print(encode(result)"
FORGED = "TRIAL-RESULT 2 44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a {}"
GLIBCXX = "/lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found (required by _pywrap_tensorflow_internal.so)"
DEAD = "http://127.0.0.1:9"
NAMESPACES = ("unshare", "--pid", "--fork", "--mount-proc", *(["--map-root-user"] if os.getuid() else []))
alone = partial(harmless, options=("-k", "baseline", *SMALL), verdict="PASS")
"""A fault that costs nothing and has nothing to do with Ray Train: the baseline alone is a run, and passes."""


def lost(process: str) -> str:
    """Return how a process of Ray that is gone is named."""
    return f"Ray lost a process that it needs: the {process} "


def killed(who: str, process: str, moment: str, says: str, see: str = "cluster-changed") -> Fault:
    """Make the fault that a process is killed."""
    return Fault(f"{who} is killed {WHEN[moment]}", says, see, moment=moment, inject=send(signal.SIGKILL, process))


def stopped(who: str, process: str, moment: str, name: str) -> Fault:
    """Make the fault that a process is stopped."""
    says = rf"{name} \(process \d+\) is stopped by a signal"
    return Fault(
        f"{who} is stopped {WHEN[moment]}", says, "cluster-changed", moment=moment, inject=send(signal.SIGSTOP, process)
    )


def told(number: signal.Signals, moment: str, code: int, says: str) -> Fault:
    """Make the fault that pytest gets a signal."""
    verdict = "none" if moment == STARTING else "INFRA"  # nothing is reported of what has not begun to measure
    name = f"{number.name} to pytest {WHEN[moment]}"
    return Fault(name, says, verdict=verdict, code=code, moment=moment, inject=tell(number))


def remove_mnist(setting: Setting) -> None:
    """Delete the data of the checkout."""
    (setting.checkout / MNIST).unlink()


def damage_history(setting: Setting) -> None:
    """Put files into the history that nothing can read."""
    write("reports/history/0001_nested_19700101_000000.json", b"[" * 100_000)(setting)
    write("reports/history/accepted.jsonl", b"\xff\xfe\x00")(setting)


def use_crons_environment(setting: Setting) -> None:
    """Leave PATH alone: no HOME, no language, no terminal."""
    setting.environ = {name: setting.environ[name] for name in ("PATH", "TMPDIR")}


def break_kept_cluster(setting: Setting) -> None:
    """Keep a cluster of the same shape, and kill one of its raylets."""
    up = [sys.executable, "-m", "fixtures", "up"]
    subprocess.run(up, cwd=setting.checkout, env=setting.environ, check=True, capture_output=True)
    pattern = f"{setting.temporary}.*--node-name=worker-1"
    subprocess.run(["pkill", "--signal", "KILL", "--full", pattern], check=True)


def remove_run_directory(run: SuiteRun) -> None:
    """Delete the folder in which the cluster lives."""
    for folder in run.setting.temporary.glob("rte-*"):
        shutil.rmtree(folder, ignore_errors=True)


def run_beside(run: SuiteRun) -> None:
    """Start another run with the same checkout and temporary folder, and wait for its end."""
    setting = run.setting
    command = [*command_of(setting), f"--reports={setting.folder / 'beside'}"]
    subprocess.run(command, cwd=setting.checkout, env=setting.environ, check=True, capture_output=True)


def collect_garbage(run: SuiteRun, wrapper: tuple[str, ...] = ()) -> None:
    """Remove what earlier runs have left, as `make gc` does, in the temporary folder of this run alone."""
    code = "import pathlib, sys; from fixtures.system.processes import reap_abandoned as reap; "
    code += "sys.exit(len(reap([pathlib.Path(sys.argv[1])], also_kept=True)))"
    command = [*wrapper, sys.executable, "-c", code, str(run.setting.temporary)]
    subprocess.run(command, cwd=run.setting.checkout, check=True, capture_output=True)


AT_ONCE = (
    Fault("-k selects no test", "deselected", verdict="none", code=5, options=("-k", "nothing")),
    Fault("--benchmark-only", "with end-to-end tests: ", verdict="none", code=4, options=("--benchmark-only",)),
    Fault("an option with a wrong value", "--epochs='none': ", verdict="none", code=4, options=("--epochs=none",)),
    Fault(
        "--reports names a device", "--reports=.*/dev/null", verdict="none", code=4, options=("--reports=/dev/null",)
    ),
    Fault(
        "--reports is read-only",
        "--reports=",
        verdict="none",
        code=4,
        prepare=mount("ro", lambda setting: setting.reports),
    ),
    Fault(
        "--monitoring without Prometheus",
        "prometheus is not on PATH",
        options=("--monitoring",),
        prepare=variables(PATH=str(Path(sys.executable).parent)),
    ),
    Fault(
        "the temporary disk has 100 MB",
        "has 0.1 GiB free, 1 GiB are needed",
        "disk-full",
        prepare=mount("size=100m", lambda setting: setting.temporary),
    ),
    Fault("pids.max is 300", "2 workers need 600 processes", "limit-hit", prepare=limit("pids", {"pids.max": 300})),
    Fault(
        "the memory limit is 1 GiB",
        "2 workers need 3.1 GiB of memory",
        "memory-short",
        prepare=limit("memory", {"memory.max": 1 << 30, "memory.limit_in_bytes": 1 << 30}),
    ),
    Fault(
        "--cluster=context without a kubeconfig",
        "/missing",
        "kubeconfig",
        options=("--cluster=context",),
        prepare=variables(KUBECONFIG="/missing"),
    ),
    Fault(
        "MNIST is missing",
        r"mnist\.npz cannot be read: .* Restore it with git",
        options=WHOLE,
        prepare=remove_mnist,
    ),
)

IN_THE_START = (
    killed("GCS", GCS, STARTING, "`ray start` of head", "ray-not-started"),
    killed("a raylet", RAYLET, STARTING, "worker-1", "ray-not-started"),
    killed("the dashboard", DASHBOARD, STARTING, "[Dd]ashboard", "ray-not-started"),
    replace(
        stopped("a raylet", RAYLET, STARTING, ""),
        says="`ray start` of worker-1",
        see="ray-not-started",
        seconds=150.0,
        why_later="a start may take 120 s on a slow machine",
    ),
    told(signal.SIGINT, STARTING, 2, "KeyboardInterrupt"),
    told(signal.SIGTERM, STARTING, 143, "terminated by SIGTERM"),
    told(signal.SIGHUP, STARTING, 129, "terminated by SIGHUP"),
    Fault(
        "ulimit -n 64",
        "open files, 64 are allowed",
        "limit-hit",
        prepare=lambda setting: setting.wrapper.extend(["prlimit", "--nofile=64"]),
    ),
)

IN_THE_BASELINE = (
    Fault(
        "MNIST is damaged",
        r"baseline: .*mnist\.npz is damaged",
        "data-damaged",
        options=WHOLE,
        prepare=write(f"checkout/{MNIST}", b"PK"),
    ),
    Fault(
        "TensorFlow lacks GLIBCXX",
        "baseline: .*GLIBCXX_3.4.30' not found",
        "tensorflow-unusable",
        prepare=write("checkout/image/tensorflow/__init__.py", f'raise ImportError("{GLIBCXX}")'.encode()),
    ),
    Fault(
        "the trainer has a mistake",
        "baseline: .*ValueError: a mistake",
        "trainer-failed",
        "REGRESSION",
        1,
        prepare=edit(TRAINING, THREADS, f'    raise ValueError("a mistake")\n{THREADS}'),
    ),
    Fault(
        "the baseline prints two result lines",
        "baseline: expected one TRIAL-RESULT line",
        "result-incomplete",
        "REGRESSION",
        1,
        prepare=edit("image/trainer/__main__.py", PRINT, f'print("{FORGED}")\n    {PRINT}'),
        moment=BASELINE_ENDS,
    ),
    Fault(
        "the result line is cut short",
        "baseline: the TRIAL-RESULT line announces",
        "result-incomplete",
        prepare=edit("image/trainer/__main__.py", PRINT, f"{PRINT}[:-9]"),
        moment=BASELINE_ENDS,
    ),
    killed("the baseline", BASELINE, BASELINE_TRAINS, "baseline: .*a process was ended by SIGKILL", "rank-lost"),
    stopped("the baseline", BASELINE, BASELINE_TRAINS, r"python\S*"),
    killed("GCS", GCS, BASELINE_TRAINS, lost("GCS of the head")),
    stopped("GCS", GCS, BASELINE_TRAINS, "gcs_server"),
    killed("the dashboard", DASHBOARD, BASELINE_TRAINS, lost("dashboard of the head")),
    stopped("the dashboard", DASHBOARD, BASELINE_TRAINS, r"\S+"),
    killed("a raylet", RAYLET, BASELINE_TRAINS, lost("raylet of worker-1")),
    stopped("a raylet", RAYLET, BASELINE_TRAINS, "raylet"),
    killed("the head's raylet", HEAD_RAYLET, BASELINE_TRAINS, lost("raylet of head")),
    Fault(
        "the temporary disk fills up",
        "The disk of .* is full",
        "cluster-changed",
        prepare=mount("size=1400m", lambda setting: setting.temporary),
        moment=BASELINE_TRAINS,
        inject=fill(lambda setting: setting.temporary / "filler"),
    ),
    Fault(
        "the run directory is removed",
        "rte-.* cannot be read: No such file or directory",
        "cluster-changed",
        moment=BASELINE_TRAINS,
        inject=remove_run_directory,
    ),
    told(signal.SIGINT, BASELINE_TRAINS, 2, "KeyboardInterrupt"),
    told(signal.SIGTERM, BASELINE_TRAINS, 143, "terminated by SIGTERM"),
    told(signal.SIGHUP, BASELINE_TRAINS, 129, "terminated by SIGHUP"),
)

UNDER_RAY_TRAIN = (
    killed("a rank", RANK, BASELINE_ENDS, "a RayTrainWorker was lost in the start: its process", "rank-lost"),
    killed("a rank", RANK, WORKERS_TRAIN, r"2 workers: .*rank \d was lost: its process \d+ died", "rank-lost"),
    stopped("a rank", RANK, WORKERS_TRAIN, r"\S*RayTrainWorker\S*"),
    killed("the driver", DRIVER, WORKERS_TRAIN, "2 workers: .*a process was ended by SIGKILL", "rank-lost"),
    killed("the controller", CONTROLLER, WORKERS_TRAIN, "2 workers: .*TrainController", "rank-lost|job-lost"),
    killed("a rank's raylet", RAYLET, WORKERS_TRAIN, lost("raylet of worker-1")),
    Fault(
        "MNIST is removed between the trials",
        r"2 workers: .*mnist\.npz.*No such file",
        "data-damaged",
        options=WHOLE,
        moment=BASELINE_ENDS,
        inject=lambda run: remove_mnist(run.setting),
    ),
    Fault(
        "ranks keep their own gradients",
        "REGRESSION: .*(gradient|weights)",
        "gradients-differ|weights-differ|first-losses-differ",
        "REGRESSION",
        1,
        options=SMALL,
        prepare=edit("image/trainer/memory.py", "np.add(slots[0], slots[1], out=total)", "total[:] = vector"),
        seconds=300.0,
        why_later="the proof compares trials that are complete",
    ),
    harmless(
        "a rank prints a forged result line",
        options=SMALL,
        prepare=edit(TRAINING, THREADS, f'    print("{FORGED}" if world_size > 1 else "")\n{THREADS}'),
    ),
    harmless("/dev/shm has 1 MB", prepare=mount("size=1m", lambda setting: Path("/dev/shm"))),
)

HARMLESS = (
    alone("files of the history are damaged", prepare=damage_history),
    alone("proxies are dead", prepare=variables(http_proxy=DEAD, https_proxy=DEAD, HTTP_PROXY=DEAD)),
    alone(
        "variables are another Ray's, with another token",
        prepare=variables(RAY_ADDRESS="127.0.0.1:9", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="0" * 64, TF_CONFIG="{"),
    ),
    alone("the environment is cron's", prepare=use_crons_environment),
    alone(
        "the reports folder is removed",
        moment=BASELINE_TRAINS,
        inject=lambda run: shutil.rmtree(run.setting.reports),
    ),
    alone(
        "the disk of the reports is full",
        says=r"WARNING: .* cannot be written \(No space left on device\)",
        see="reports-elsewhere",
        prepare=mount("size=4m", lambda setting: setting.reports),
    ),
    alone(
        "a run that died has left its folder",
        says="removed what an earlier run had left: ",
        prepare=lambda setting: (setting.temporary / "rte-dead").mkdir(),
    ),
    alone(
        "the kept cluster has lost a raylet",
        says="is no longer whole: removed",
        prepare=break_kept_cluster,
    ),
    alone("another run beside it", moment=UP, inject=run_beside),
    alone("`make gc` beside it", moment=UP, inject=collect_garbage),
    alone(
        "`make gc` beside it, from another PID namespace",
        moment=UP,
        inject=lambda run: collect_garbage(run, NAMESPACES),
    ),
)

EMBEDDED = (*AT_ONCE, *IN_THE_START, *IN_THE_BASELINE, *UNDER_RAY_TRAIN, *HARMLESS)
