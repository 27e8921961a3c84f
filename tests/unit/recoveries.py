"""What honest trainings hand over whose worker is killed, for tests of what is made of them."""

from dataclasses import replace

from fixtures.analysis.measurement import ClusterFacts, Failure, Measurement
from fixtures.analysis.plan import TrialSpec
from fixtures.analysis.recovery import Recovery, RecoveryRun, plan_recovery
from fixtures.settings.recovery import RecoverySettings
from fixtures.settings.settings import Settings
from fixtures.system.noise import Noise
from tests.unit.trials import QUIET, SETTINGS, result, with_all_ranks, with_rank
from trainer.result import SecondLife, TrialResult

CHOSEN = replace(SETTINGS, recovery=RecoverySettings(recoveries=2, checkpoint_every=3))
MARKS = {"import": 1012.0, "calibrate": 1016.0, "restored": 1016.5, "redone": 1017.5, "train": 1020.0}


def hand_over(of: TrialSpec) -> TrialResult:
    """What an honest trial hands over; a killed worker is noticed after 2 s, and all is redone after 8.5 s."""
    trial = result(of, 14.0 if of.kill_update else 10.0)
    if of.checkpoint_every:
        trial = with_all_ranks(trial, checkpoint_seconds=(0.5, 0.5, 1.0))
    if of.kill_update:
        restored = of.kill_update - of.kill_update % of.checkpoint_every
        life = SecondLife(of.kill_rank, of.kill_update, 1009.0, 1011.0, restored)
        for rank in range(of.workers):
            trial = with_rank(trial, rank, second_life=life, marks=MARKS | {"worker": 1011.5 + rank / 10})
    return trial


def recovery(number: int = 1, noise: Noise = QUIET) -> Recovery:
    """One round of honest trainings."""
    specs = plan_recovery(CHOSEN, 2, number)
    results = [(spec, hand_over(spec)) for spec in specs]
    return Recovery.of(
        [
            Measurement(spec, number, trial, 1000.0, 1000.5, 1006.0 + trial.train_seconds, noise)
            for spec, trial in results
        ]
    )


def recovery_run(*recoveries: Recovery, settings: Settings = CHOSEN, failures: tuple[Failure, ...] = ()) -> RecoveryRun:
    """A run of two workers that measured these."""
    return RecoveryRun(settings, 2, ClusterFacts("fake", 2, 1, 8, 0, "f" * 64), recoveries, failures)
