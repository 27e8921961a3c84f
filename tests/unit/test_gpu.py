"""GPUs: which may be used, what is refused in one sentence, and what holds one back. NVML and CUDA are stand-ins."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.analysis.gpus import list_gpus, prove_gpus_as_asked
from fixtures.analysis.measurement import ClusterFacts, Run, why_no_all_cores
from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.summary import summarise
from fixtures.analysis.verdict import Outcome
from fixtures.analysis.work import prove_same_work
from fixtures.clusters.contract import Place
from fixtures.clusters.local.provider import LocalProvider
from fixtures.errors import UnequalWorkError
from fixtures.history.entry import Commit, Entry
from fixtures.settings.settings import Settings
from fixtures.system.resources import GIB, Machine
from tests.unit.fake_jobs import FakeJobs, experiment, noise
from tests.unit.nvml import FIRST, SECOND, Device, install
from tests.unit.trials import QUIET, SETTINGS, SPREAD, result, spec, with_rank
from trainer import __main__ as trainer
from trainer.gpu import GpuWatch, UnusableGpuError, find_own, require_used
from trainer.result import Gpu, GpuRecord, GpuState, RankRecord, TrialResult

__all__ = ["noise"]  # a fixture: experiments here are quiet unless a test says otherwise

ROOMY = Machine(cores=(0, 1, 2, 3), quota=None, memory=8 * GIB, disk=50 * GIB)
ON_GPUS = Settings(gpus_per_worker=1)


def refusal() -> str:
    with pytest.raises(UnusableGpuError) as caught:
        find_own(patience=0)
    return str(caught.value)


def test_a_whole_idle_gpu_is_described_by_what_identifies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Device())

    own = find_own()

    assert own.label == f"NVIDIA H200 ({FIRST})"
    assert (own.compute, own.driver, own.memory_mib) == ("9.0", "580.159.04", 143_771)


def test_a_model_that_knows_no_slices_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Device(name="NVIDIA GeForce RTX 4090", mig=None))

    assert find_own().mig is False


@pytest.mark.parametrize(
    ("device", "why"),
    [
        (Device(mig=1), "is cut into slices (MIG)"),
        (Device(processes=1), "is in use by others (processes: 1, memory: 0 MiB)"),
        (Device(used=900), "is in use by others (processes: 0, memory: 900 MiB)"),
    ],
)
def test_a_gpu_that_is_not_whole_or_not_idle_is_refused(
    device: Device, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, device)

    assert why in refusal()


def test_a_process_that_is_shown_none_several_or_a_slice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, shown=[])
    assert "CUDA shows this process 0 GPUs, expected one" in refusal()

    install(monkeypatch, Device(), Device(uuid=SECOND))
    assert "CUDA shows this process 2 GPUs, expected one" in refusal()

    install(monkeypatch, Device(), shown=["GPU-of-a-slice"])
    assert "GPU-of-a-slice is a slice of a GPU (MIG)" in refusal()


def test_a_driver_that_is_missing_or_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Device(), cuda=11080, driver="520.61.05")
    assert refusal() == "NVIDIA's driver 520.61.05 is for CUDA 11.8: TensorFlow 2.21 needs one for CUDA 12 or newer"

    install(monkeypatch, broken="Driver Not Loaded")
    assert refusal() == "there is no NVIDIA GPU or no driver for it (NVML: Driver Not Loaded)"

    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "nvidia-ml-py is not installed" in refusal()


def test_a_tensorflow_that_fell_back_to_the_cpu_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Device())
    own = find_own()

    require_used(own, 1, "/job:localhost/replica:0/task:0/device:GPU:0")
    with pytest.raises(UnusableGpuError, match=f"does not train on {own.name}.* lists 0 GPUs .* on device:CPU:0"):
        require_used(own, 0, "/job:localhost/replica:0/task:0/device:CPU:0")
    with pytest.raises(UnusableGpuError, match="lists 2 GPUs"):
        require_used(own, 2, "/job:localhost/replica:0/task:0/device:GPU:0")


def watched(before: Device, after: Device, monkeypatch: pytest.MonkeyPatch) -> GpuRecord:
    """What a watch records of a GPU that is in these states before and after a training."""
    install(monkeypatch, Device())
    own = find_own()
    install(monkeypatch, before)
    watch = GpuWatch(own, tf32=False, deterministic=True)
    vars(before).update(vars(after))
    return watch.record()


def test_both_ends_of_a_training_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    record = watched(Device(processes=1, clock=345), Device(processes=1, clock=1980, reasons=4), monkeypatch)

    assert record.begin == GpuState(345, 41, 110.5, ())
    assert record.end == GpuState(1980, 41, 110.5, ("power cap",))
    assert record.slowed == 0, "a power cap is no fault"


def test_heat_counts_by_its_time_and_a_fault_by_the_looks_that_see_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(Device(), Device(thermal_ns=10**12), monkeypatch).slowed > 1
    assert watched(Device(), Device(reasons=0x48), monkeypatch).slowed == 0.5
    silent = Device(reasons=None, thermal_ns=None, clock=None)
    assert watched(silent, replace(silent), monkeypatch).slowed == 0


def test_somebody_who_joins_during_a_training_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnusableGpuError, match="was used by 2 processes at the end"):
        watched(Device(processes=1), Device(processes=2), monkeypatch)


def test_a_round_in_which_heat_held_a_gpu_back_is_disturbed() -> None:
    assert replace(QUIET, gpu_slowed=0.05).why == ""
    assert replace(QUIET, gpu_slowed=0.25).why == "heat or a fault held a GPU back in 25% of the time (limit 5%)"


def record(uuid: str = FIRST, *, tf32: bool = False, deterministic: bool = True, slowed: float = 0.0) -> GpuRecord:
    """What a rank records of a GPU that nothing holds back."""
    found = Gpu(uuid, "NVIDIA H200", "9.0", "580.159.04", 143_771, used_mib=0, processes=0, mig=False)
    calm = GpuState(1980, 41, 110.5, ())
    return GpuRecord(found, tf32=tf32, deterministic=deterministic, begin=calm, end=calm, slowed=slowed)


def on(trial: TrialResult, *gpus: GpuRecord | None) -> TrialResult:
    """The same trial, whose ranks trained on these GPUs."""
    return replace(trial, ranks=tuple(replace(rank, gpu=gpu) for rank, gpu in zip(trial.ranks, gpus, strict=True)))


def refused(of: int, *gpus: GpuRecord | None, settings: Settings = ON_GPUS) -> str:
    ranks: tuple[RankRecord, ...] = on(result(spec(of)), *gpus).ranks
    with pytest.raises(UnequalWorkError) as caught:
        prove_gpus_as_asked(spec(of), settings, ranks)
    return caught.value.cause


def test_ranks_train_on_gpus_of_their_own_or_none_does() -> None:
    first, second = record(), record(SECOND)

    prove_gpus_as_asked(spec(2), ON_GPUS, on(result(spec(2)), first, second).ranks)
    prove_gpus_as_asked(spec(2), Settings(), result(spec(2)).ranks)

    assert refused(2, first, first) == f"2 workers: 2 of them trained on one GPU, {FIRST}."
    assert refused(2, first, None) == "2 workers, rank 1: asked for --gpus-per-worker=1, trained on GPU: none."
    assert refused(1, first, settings=Settings()).startswith("1 worker, rank 0: asked for --gpus-per-worker=0")
    assert "another precision" in refused(1, record(tf32=True))


def test_tf32_is_for_timing_alone() -> None:
    settings, rounded = replace(ON_GPUS, tf32=True), record(tf32=True)
    timing = spec(1, "timing")

    prove_gpus_as_asked(timing, settings, on(result(timing), rounded).ranks)
    assert "another precision" in refused(1, rounded, settings=settings)


def test_both_sides_need_the_same_kind_of_gpu_and_precision() -> None:
    own, other = record(), record(SECOND)
    older = replace(other, found=replace(other.found, name="NVIDIA A100"))
    baseline, workers = on(result(spec(0)), own), result(spec(1))

    proof = prove_same_work(spec(1), baseline, on(workers, other), SPREAD)
    assert f"one GPU for the baseline and for each worker: {own.kind}" in proof
    for gpu in (older, replace(other, tf32=True), replace(other, deterministic=False), None):
        with pytest.raises(UnequalWorkError, match=r"GPU: .* on rank 0, NVIDIA H200.* in the baseline"):
            prove_same_work(spec(1), baseline, on(workers, gpu), SPREAD)


def test_a_path_rounded_to_tf32_is_compared_before_the_first_update_alone() -> None:
    timing, rounded = spec(1, "timing"), record(tf32=True)
    baseline = on(result(spec(0, "timing")), rounded)
    epoch = baseline.ranks[0].epochs[0]
    apart = tuple(loss * (1.01 if update else 1) for update, loss in enumerate(epoch.first_losses))
    other = with_rank(on(result(timing), rounded), 0, epochs=(replace(epoch, first_losses=apart),))

    assert "the losses of the first 1 updates agree to 0e+00" in prove_same_work(timing, baseline, other, SPREAD)
    with pytest.raises(UnequalWorkError, match="The loss of update 2"):
        prove_same_work(timing, on(baseline, record()), on(other, record()), SPREAD)


def trained(of: TrialSpec, slowed: float = 0.0) -> TrialResult:
    """What an honest trial hands over whose ranks have a GPU each."""
    trial = result(of, 10.0 / max(1, of.workers) + of.seed * 0.001)
    uuids = [f"{FIRST[:-2]}{rank:02}" for rank in range(len(trial.ranks))]
    return on(trial, *(record(uuid, deterministic=of.probe, slowed=slowed) for uuid in uuids))


def test_a_run_on_gpus_reserves_one_for_the_baseline_and_tells_every_trial() -> None:
    jobs, settings = FakeJobs(trained), replace(SETTINGS, gpus_per_worker=1, tf32=True)

    experiment(jobs, settings, all_cores={2: Place(cores=(5, 6))}).run()

    reserved = {trial.name: gpus for trial, gpus in zip(jobs.submitted, jobs.gpus, strict=True)}
    assert reserved == {"baseline": 1, "2 workers": 0, "2 copies": 0}
    told = [trainer.parse(command[3:]) for command in jobs.commands]
    assert {(options.gpus, options.tf32) for options in told} == {(1, True)}


def test_a_run_on_gpus_has_a_speedup_and_says_which_gpus() -> None:
    measured = experiment(FakeJobs(trained), replace(SETTINGS, gpus_per_worker=1)).run()

    summary = summarise(measured, SPREAD)
    entry = Entry.of(summary, Commit("0" * 40), "1")
    assert summary.of(2).verdict.outcome is Outcome.PASS
    assert Run.from_json(measured.to_json()) == measured
    assert len(list_gpus(measured.results)) == 2
    assert "nvidia driver" in entry.versions
    assert entry.setup["gpus-per-worker"] == "1"


def test_a_round_in_which_heat_held_a_gpu_back_is_set_aside() -> None:
    def answer(of: TrialSpec) -> TrialResult:
        return trained(of, slowed=0.5 if of.workers and of.seed == 2 else 0.0)

    measured = experiment(FakeJobs(answer), replace(SETTINGS, gpus_per_worker=1)).run()

    assert list(measured.polluted) == ["1"]
    assert "heat or a fault held a GPU back in 50% of the time" in measured.polluted["1"]


def test_no_process_on_all_cores_is_compared_with_gpus() -> None:
    facts = ClusterFacts("local", 2, 1, 4, 0, "", all_cores=(2,))

    assert why_no_all_cores(Settings(), facts, 2) == ""
    assert why_no_all_cores(ON_GPUS, facts, 2).startswith("on GPUs one process trains on one GPU")


def missing(workers: int) -> list[str]:
    provider = LocalProvider(workers, 1, {}, gpus=1, places=(Path("/tmp"),), read=lambda place: ROOMY)
    return [problem.what for problem in provider.preflight()]


def test_fewer_usable_gpus_than_workers_are_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Device(), Device(uuid=SECOND, processes=3))

    assert missing(1) == []
    assert missing(2) == [
        "--workers=2 need 2 GPUs, CUDA shows 2, of which 1 can be used; NVIDIA H200 "
        f"({SECOND}) is in use by others (processes: 3, memory: 0 MiB): expected one that nobody uses."
    ]

    install(monkeypatch, broken="Driver Not Loaded")
    assert missing(1) == ["--gpus-per-worker=1: there is no NVIDIA GPU or no driver for it (NVML: Driver Not Loaded)."]
