"""A run says what has happened to it, soon, with the right verdict, and leaves nothing behind.

`make faults ARGS="-k raylet"` runs some of them; docs/FAULTS.md has what each run did.
"""

import contextlib
import re
import time
from dataclasses import replace

import pytest

from fixtures.settings.settings import Settings
from tests.faults.embedded import EMBEDDED
from tests.faults.fault import Fault, do_nothing
from tests.faults.on_kubernetes import ON_KUBERNETES, KubernetesFault, Rig
from tests.faults.record import Seen, keep, read_verdict, shorten
from tests.faults.suite_run import Setting, SuiteRun, find_left, wait_until_gone

pytestmark = pytest.mark.faults

TOO_BUSY = r"(did not end within|not all were alive within|[Tt]imed out)[\s\S]*TROUBLESHOOTING: ray-not-started"
"""What a run says on a machine so busy that Ray does not come up: nothing about the fault."""
LAST_LINES = 60


@pytest.mark.parametrize("fault", EMBEDDED, ids=lambda fault: fault.name)
def test_a_fault_of_a_run_on_the_embedded_cluster(fault: Fault, settings: Settings, setting: Setting) -> None:
    if settings.cluster != "local":
        pytest.skip("--cluster names a Kubernetes cluster")
    check("local", fault, setting)


@pytest.mark.parametrize("case", ON_KUBERNETES, ids=lambda case: case.fault.name)
def test_a_fault_of_a_run_on_kubernetes(case: KubernetesFault, rig: Rig, setting: Setting) -> None:
    if case.needs_docker and rig.cluster == "context":
        pytest.skip("its nodes are no containers of this machine")
    rig.call("up")
    setting.options += [*rig.options, "--keep=always"]
    fault = case.fault
    if fault.inject is do_nothing and fault.moment:
        fault = replace(fault, inject=lambda run: case.make(rig))
    else:
        case.make(rig)
    try:
        check(rig.cluster, fault, setting)
    finally:
        case.mend(rig)


def check(where: str, fault: Fault, setting: Setting) -> None:
    """Run the suite with a fault, keep what it did, and fail when that was not right."""
    setting.options += fault.options
    fault.prepare(setting)
    run = SuiteRun(setting)
    since = run.began
    if fault.moment and run.wait_for_message(fault.moment):
        since = time.monotonic()
        with contextlib.suppress(LookupError):  # the run has ended before
            fault.inject(run)
    code = run.end()
    left = wait_until_gone(lambda: find_left(setting.temporary))
    at, said = run.find_message(fault.message, since) or (None, "")
    seen = Seen(
        where=where,
        fault=fault.name,
        verdict=read_verdict(setting),
        code=code,
        said=shorten(said, setting),
        seconds=None if at is None else round(at - since, 1),
        left=left,
        evident=is_in_evidence(fault, setting),
        more=fault.why_later if at is not None and at - since > Fault.seconds else "",
    )
    end = "\n".join(run.text.splitlines()[-LAST_LINES:])
    if not fault.is_right(seen) and re.search(TOO_BUSY, run.text) and fault.see != "ray-not-started":
        pytest.skip(f"INFRA: the machine is too busy, Ray did not start:\n{end}")
    keep(seen)
    assert fault.is_right(seen), f"{seen}\n{end}"


def is_in_evidence(fault: Fault, setting: Setting) -> bool:
    """Tell whether the summary of the evidence, where there is one, begins with the cause."""
    summary = setting.reports / "evidence" / "SUMMARY.md"
    return not summary.exists() or bool(re.search(fault.says, summary.read_text(encoding="utf-8").split("\n\n")[0]))
