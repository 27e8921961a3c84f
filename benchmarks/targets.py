"""Whether the speed targets are met: a pure function of what a bench measured."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from statistics import fmean

from benchmarks.rounds import BATCH, KERAS_FIT, LARGER_BATCHES, VARIANTS, WORKERS, Bench, Configuration, VariantTrial
from fixtures.analysis.measurement import Measurement
from fixtures.analysis.speedup import Ceiling, Interval, Ratios, Share, Speedup, geometric_mean, mean_interval
from fixtures.analysis.spread import Spread
from fixtures.analysis.work import prove_alone, prove_same_work
from fixtures.errors import MissingResultError, UnequalWorkError
from trainer import schedule
from trainer.result import TrialResult

LEVEL = 0.95
KERAS_SHARE = 0.952
"""An update of the CNN as a user's Keras file takes at most 1.05 times the built-in one's."""
OWN_TO_A_FILE = ("workload", "data", "start", "optimizer", "libraries", "tensors")
"""What a rank says of its training that is another where the same CNN is a file."""


class Outcome(Enum):
    """What the measurement says about a target."""

    MET = "met"
    MISSED = "missed"
    NOT_SHOWN = "not shown"


@dataclass(frozen=True)
class Finding:
    """One target against what was measured.

    Attributes:
        what: the quantity.
        asked: the target in words.
        figure: a ratio, or seconds; None when it was not measured.
        interval: 95 %; None for fewer than two rounds.
        rounds: that it rests on.
        outcome: NOT_SHOWN when the interval holds the target, or there is none.
        unit: "s" for seconds, empty for a ratio.
    """

    what: str
    asked: str
    figure: float | None
    interval: Interval | None
    rounds: int
    outcome: Outcome
    unit: str = ""


@dataclass(frozen=True)
class Fact:
    """A figure that stands beside the targets: seconds of a configuration, or a ratio."""

    what: str
    figure: float
    interval: Interval | None
    rounds: int
    unit: str = ""


def at_least(what: str, ratios: Ratios | None, threshold: float, *, low_end: bool) -> Finding:
    """A ratio that is to reach a threshold, with the low end of its interval or with its estimate."""
    asked = f"{'lower end' if low_end else 'estimate'} >= {threshold:g}"
    if ratios is None or ratios.rounds < 2:
        rounds = ratios.rounds if ratios else 0
        return Finding(what, asked, ratios.estimate if ratios else None, None, rounds, Outcome.NOT_SHOWN)
    interval = ratios.interval(LEVEL)
    if (interval.low if low_end else ratios.estimate) >= threshold:
        outcome = Outcome.MET
    else:
        outcome = Outcome.NOT_SHOWN if low_end and interval.high >= threshold else Outcome.MISSED
    return Finding(what, asked, ratios.estimate, interval, ratios.rounds, outcome)


def at_most(what: str, seconds: Sequence[float], limit: float) -> Finding:
    """A time whose mean is to stay below a limit, with the upper end of its interval."""
    asked = f"upper end <= {limit:g} s"
    if len(seconds) < 2:
        figure = fmean(seconds) if seconds else None
        return Finding(what, asked, figure, None, len(seconds), Outcome.NOT_SHOWN, "s")
    interval = mean_interval(seconds, LEVEL)
    outcome = Outcome.MISSED if interval.low > limit else Outcome.NOT_SHOWN
    outcome = Outcome.MET if interval.high <= limit else outcome
    return Finding(what, asked, fmean(seconds), interval, len(seconds), outcome, "s")


def judge(bench: Bench) -> tuple[Finding, ...]:
    """Every target of the groups that were asked for."""
    findings: list[Finding] = []
    workers, baseline = Configuration("workers"), Configuration("baseline")
    if "ray" in bench.groups:
        findings.append(at_least(f"share of the ceiling, batch {BATCH}", share(bench, BATCH), 0.95, low_end=True))
    if "batches" in bench.groups:
        findings += [
            at_least(f"share of the ceiling, batch {size}", share(bench, size), 0.95, low_end=False)
            for size in LARGER_BATCHES
        ]
    if "variants" in bench.groups:
        name = fastest(bench)
        ratios = ratio(bench, Configuration("variant", variant=name), baseline) if name else None
        findings.append(at_least(f"T(fastest variant) / T(baseline): {name or 'none ran'}", ratios, 0.98, low_end=True))
        fit = ratio(bench, Configuration("variant", variant=KERAS_FIT), baseline)
        findings.append(at_least(f"T({KERAS_FIT}) / T(baseline)", fit, 1.2, low_end=False))
    if "keras" in bench.groups:
        ratios = ratio(bench, baseline, Configuration("keras"))
        findings.append(at_least(f"T(baseline) / T({Configuration('keras').name})", ratios, KERAS_SHARE, low_end=True))
    if "noray" in bench.groups:
        ratios = ratio(bench, Configuration("ranks"), workers)
        findings.append(at_least("T(2 ranks without Ray) / T(Ray Train, 2 workers)", ratios, 0.98, low_end=True))
    if "ray" in bench.groups:
        for configuration, limit in ((baseline, 5.0), (workers, 8.0)):
            what = f"job clock - training clock, {configuration.name}"
            findings.append(at_most(what, overheads(bench.measured(configuration)), limit))
    return tuple(findings)


def facts(bench: Bench) -> tuple[Fact, ...]:
    """What stands beside the targets: speedups, ceilings, each variant, and the seconds behind them."""
    measured: list[Fact] = []
    for size in (BATCH, *LARGER_BATCHES):
        beside: tuple[tuple[str, Ratios | None], ...] = (
            ("S(2)", speedup(bench, size)),
            ("ceiling", ceiling(bench, size)),
        )
        measured += [_fact(f"{what}, batch {size}", ratios) for what, ratios in beside if ratios]
    measured += _cost_of_helpers(bench)
    baseline = Configuration("baseline")
    for name in VARIANTS:
        if ratios := ratio(bench, Configuration("variant", variant=name), baseline):
            measured.append(_fact(f"T({name}) / T(baseline)", ratios))
    ran = [trial.configuration for trial in bench.trials] + [trial.configuration for trial in bench.variants]
    for configuration in dict.fromkeys(trained for trained in ran if not trained.evaluate):
        if seconds := list(bench.timed(configuration).values()):
            measured.append(_fact(f"T({configuration.name})", Ratios(1, tuple(seconds)), "s"))
    return tuple(measured)


def _cost_of_helpers(bench: Bench) -> list[Fact]:
    """What Ray Train as it ships takes longer than a trimmed one in the same rounds, by two clocks."""
    shipped, trimmed = bench.measured(Configuration("workers")), bench.measured(Configuration("trimmed"))
    both = [(shipped[number], trimmed[number]) for number in shipped if number in trimmed]
    if not both:
        return []
    clocks = {
        "training clock": [one.train_seconds - other.train_seconds for one, other in both],
        "job clock": [one.job_seconds - other.job_seconds for one, other in both],
    }
    return [
        Fact(
            f"what Ray Train's helpers cost, {clock}",
            fmean(seconds),
            mean_interval(seconds, LEVEL) if len(seconds) > 1 else None,
            len(seconds),
            "s",
        )
        for clock, seconds in clocks.items()
    ]


def share(bench: Bench, batch_size: int) -> Share | None:
    """T(slowest copy) / (2 x T(2 workers)) of each clean round that ran both; None without one."""
    pairs = _pairs(bench, Configuration("copies", batch_size), Configuration("workers", batch_size))
    return Share.from_times(WORKERS, *pairs) if pairs else None


def speedup(bench: Bench, batch_size: int) -> Speedup | None:
    """T(baseline) / T(2 workers), likewise."""
    pairs = _pairs(bench, Configuration("baseline", batch_size), Configuration("workers", batch_size))
    return Speedup.from_times(WORKERS, *pairs) if pairs else None


def ceiling(bench: Bench, batch_size: int) -> Ceiling | None:
    """2 x T(baseline) / T(slowest copy), likewise."""
    pairs = _pairs(bench, Configuration("baseline", batch_size), Configuration("copies", batch_size))
    return Ceiling.from_times(WORKERS, *pairs) if pairs else None


def ratio(bench: Bench, above: Configuration, below: Configuration) -> Ratios | None:
    """T(above) / T(below), likewise."""
    pairs = _pairs(bench, above, below)
    return Ratios(1, Speedup.from_times(1, *pairs).ratios) if pairs else None


def fastest(bench: Bench) -> str | None:
    """The variant with the smallest geometric mean of its times; None when none was measured."""
    means = {}
    for name in VARIANTS:
        if seconds := list(bench.timed(Configuration("variant", variant=name)).values()):
            means[name] = geometric_mean(seconds)
    return min(means, key=means.__getitem__) if means else None


def overheads(trials: Mapping[int, Measurement]) -> list[float]:
    """Job clock minus training-loop clock of each trial, seconds."""
    return [trial.overhead_seconds for trial in trials.values()]


def prove(bench: Bench, spread: Spread) -> None:
    """Every trial did the work of its round's baseline, also in rounds that were set aside.

    What the proof says of a peer's script stands in the table of peers, and ends nothing.

    Raises:
        UnequalWorkError: names the first difference.
        MissingResultError: a trial lacks a figure that the proof needs.
    """
    baselines = {
        (trial.measurement.round, trial.configuration.batch_size): trial.measurement
        for trial in bench.trials
        if trial.configuration.kind == "baseline"
    }
    for trial in bench.trials:
        _prove_trial(trial.configuration, trial.measurement, baselines, spread)
    for variant in bench.variants:
        baseline = baselines.get((variant.round, variant.configuration.batch_size))
        if baseline and variant.configuration.variant in VARIANTS:
            prove_variant(variant, baseline, spread)


def _prove_trial(
    configuration: Configuration, trial: Measurement, baselines: Mapping[tuple[int, int], Measurement], spread: Spread
) -> None:
    where = f"{configuration.name}, round {trial.round}"
    for rank in trial.result.ranks:
        if rank.batch_size != configuration.batch_size:
            raise UnequalWorkError(
                f"{where}: trained at global batch {rank.batch_size}, not {configuration.batch_size}.",
                see="unequal-settings",
            )
    baseline = baselines.get((trial.round, configuration.batch_size))
    if baseline is None or configuration.kind == "baseline":
        return  # a round that was cut off before its baseline is set aside as well
    prove_one = prove_alone if configuration.kind in ("copies", "keras") else prove_same_work
    result = _without_own(trial.result, baseline.result) if configuration.kind == "keras" else trial.result
    try:
        prove_one(trial.spec, baseline.result, result, spread)
    except (UnequalWorkError, MissingResultError) as error:
        raise type(error)(f"{where}: {error.cause}", error.remedy) from error


def _without_own(result: TrialResult, baseline: TrialResult) -> TrialResult:
    """Leave to the proof what a file's CNN must share with the built-in: samples, settings, resources, how it learnt.

    It draws other weights and masks, so its first losses are others, and its loss is compared as another seed's is.
    """
    own = baseline.ranks[0]
    told = {name: getattr(own, name) for name in OWN_TO_A_FILE}
    epochs = zip(result.ranks[0].epochs, own.epochs, strict=False)
    traced = tuple(replace(epoch, first_losses=other.first_losses) for epoch, other in epochs)
    return replace(result, ranks=(replace(result.ranks[0], epochs=traced, **told), *result.ranks[1:]))


def prove_variant(trial: VariantTrial, baseline: Measurement, spread: Spread) -> None:
    """A variant trained one epoch of the same size with the same means, and learnt as much as the baseline.

    It draws its own weights and order, so its loss is compared as that of another seed is. Raises UnequalWorkError.
    """
    result, own = trial.result, baseline.result.ranks[0]
    updates = schedule.updates_per_epoch(trial.configuration.batch_size)
    means = own.means
    expected = {
        "updates": updates,
        "samples": updates * trial.configuration.batch_size,
        "intra_threads": means.intra_threads,
        "inter_threads": means.inter_threads,
        "cores": means.cores,
        "niceness": means.niceness,
    }
    where = f"{trial.configuration.name}, round {trial.round}"
    for name, value in expected.items():
        if (given := getattr(result, name)) != value:
            raise UnequalWorkError(
                f"{where}: {name.replace('_', ' ')} {given:,}, the baseline's {value:,}.", see="unequal-samples"
            )
    loss, tolerance = own.epochs[0].loss, spread.tolerance(spread.loss, 0)
    if not abs(result.loss - loss) <= tolerance:
        raise UnequalWorkError(
            f"{where}: its training loss is {result.loss:.4f}, the baseline's {loss:.4f}: "
            f"further apart than {tolerance:.4f}.",
            see="end-differs",
        )


def all_met(findings: Iterable[Finding]) -> bool:
    """Whether there is a target, and every one is met."""
    outcomes = [finding.outcome for finding in findings]
    return bool(outcomes) and set(outcomes) == {Outcome.MET}


def _pairs(bench: Bench, first: Configuration, second: Configuration) -> tuple[list[float], list[float]] | None:
    above, below = bench.timed(first), bench.timed(second)
    both = [number for number in above if number in below]
    return ([above[number] for number in both], [below[number] for number in both]) if both else None


def _fact(what: str, ratios: Ratios, unit: str = "") -> Fact:
    interval = ratios.interval(LEVEL) if ratios.rounds > 1 else None
    return Fact(what, ratios.estimate, interval, ratios.rounds, unit)
