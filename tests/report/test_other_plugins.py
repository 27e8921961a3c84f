"""Options of other plugins in a run that measures: refused in one sentence, or made right."""

import pytest

from tests.report.test_one_run import with_signals
from tests.report.test_reporting import CONFTEST, FAST, FILES, LOST, UNUSED, left, replay
from tests.unit.trials import run

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("undrawn")

WHOLE = with_signals(CONFTEST)
XDIST = "\ndef pytest_configure(config):\n    config.workerinput, config.workeroutput = {}, {}\n"
"""A worker of pytest-xdist."""
CONTROLLER = """
import types
import pytest

class Hooks:
    @staticmethod
    def pytest_testnodedown(node, error): pass

def pytest_addhooks(pluginmanager):
    pluginmanager.add_hookspecs(Hooks)

@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    hook = session.config.hook.pytest_testnodedown
    hook(node=types.SimpleNamespace(), error="crashed")
    hook(node=types.SimpleNamespace(workeroutput={"ray_train_e2e_refused": "-n: not with them."}), error=None)
"""
"""What its controller does when workers end."""
OPTIONS = """
def pytest_addoption(parser):
    parser.addoption("--reruns", type=int)
    parser.addoption("--count", type=int, default=1)
    parser.addoption("--session-timeout", type=float)
    parser.addini("session_timeout", "")
"""
"""The options of pytest-rerunfailures, pytest-repeat and pytest-timeout."""
TIMEOUT = """
import types
import pytest

class Hooks:
    @staticmethod
    @pytest.hookspec(firstresult=True)
    def pytest_timeout_set_timer(item, settings): pass
    @staticmethod
    @pytest.hookspec(firstresult=True)
    def pytest_timeout_cancel_timer(item): pass

def pytest_addhooks(pluginmanager):
    pluginmanager.add_hookspecs(Hooks)

@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    item.ihook.pytest_timeout_set_timer(item=item, settings=types.SimpleNamespace(timeout=0.1, method="thread"))
    result = yield
    item.ihook.pytest_timeout_cancel_timer(item=item)
    return result
"""
"""What pytest-timeout asks of others."""


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--benchmark-only", "it skips the end-to-end tests, which *. Leave it out: -m e2e selects them."),
        ("--benchmark-skip", "it skips the end-to-end tests. Leave it out."),
        ("--benchmark-disable", "the times of the rounds would be missing *. Leave it out, or add --benchmark-enable."),
        ("--reruns=1", "a measurement that is run again until it passes is none. *-p no:rerunfailures."),
        ("--count=2", "it would show one measurement as several. Use --rounds=N for more rounds."),
        ("--session-timeout=0.5", "it takes effect once all is measured, *. Leave it out, or use --time-budget=30m."),
        ("-o=session_timeout=9", "it takes effect once all is measured, *. Leave it out, or use --time-budget=30m."),
    ],
)
def test_an_option_that_would_spoil_the_measurement_is_refused_before_it_begins(
    pytester: pytest.Pytester, option: str, sentence: str
) -> None:
    shown = replay(pytester, run(*FAST), option, conftest=WHOLE + OPTIONS)

    assert shown.ret == pytest.ExitCode.USAGE_ERROR
    shown.stderr.fnmatch_lines([f"ERROR: --* with end-to-end tests: {sentence}"])
    assert not (pytester.path / "out").exists()


def run_empty(pytester: pytest.Pytester, kind: str, *options: str, body: str = "pass") -> pytest.RunResult:
    """Run two tests that need no cluster, with the whole plugin and with others' options."""
    pytester.makeini("[pytest]\nmarkers =\n    e2e: .\n    recovery: .\n    sweep: .\n")
    pytester.makeconftest('pytest_plugins = ["fixtures.plugin"]\n' + OPTIONS)
    test = f"@pytest.mark.{kind}\ndef test_NUMBER():\n    {body}\n"
    pytester.makepyfile("import pytest\n" + "".join(test.replace("NUMBER", number) for number in "12"))
    return pytester.runpytest_inprocess(f"-m={kind}", "--reports=out", *UNUSED, *options)


@pytest.mark.parametrize(
    ("kind", "option", "sentence"),
    [
        ("recovery", "--benchmark-only", "it skips tests without a benchmark, as these are. Leave it out."),
        ("recovery", "--reruns=1", "a measurement that is run again until it passes is none. *"),
        ("recovery", "--count=2", "* Use --recoveries=N for more killed workers."),
        ("recovery", "--session-timeout=9", "it takes effect only when a worker count is done. *or use --timeout."),
        ("sweep", "--benchmark-only", "it skips tests without a benchmark, as these are. Leave it out."),
        ("sweep", "--reruns=1", "a measurement that is run again until it passes is none. *"),
        ("sweep", "--count=2", "it would show one measurement as several. Use --rounds=N for more rounds."),
        ("sweep", "--session-timeout=9", "it takes effect once all is measured, *"),
    ],
)
def test_it_is_refused_with_killed_workers_and_sweeps_as_well(
    pytester: pytest.Pytester, kind: str, option: str, sentence: str
) -> None:
    shown = run_empty(pytester, kind, option)

    assert shown.ret == pytest.ExitCode.USAGE_ERROR
    tests = {"recovery": "tests that kill workers", "sweep": "a sweep"}[kind]
    shown.stderr.fnmatch_lines([f"ERROR: --* with {tests}: {sentence}"])


@pytest.mark.parametrize("option", ["--benchmark-skip", "--benchmark-disable"])
def test_what_is_about_benchmarks_alone_spoils_no_recovery(pytester: pytest.Pytester, option: str) -> None:
    assert run_empty(pytester, "recovery", option).parseoutcomes() == {"passed": 2}


@pytest.mark.parametrize(
    ("kind", "options", "unread"),
    [
        ("recovery", ["--min-speedup=2:1.5", "--rounds=3", "--recoveries=2"], "--rounds, --min-speedup"),
        ("recovery", ["--timing-epochs=2"], ""),
        ("e2e", ["--recoveries=2", "--rounds=3"], "--recoveries"),
        ("sweep", ["--timing-epochs=2", "--epochs=2", "--no-all-cores"], "--timing-epochs"),
    ],
)
def test_an_option_that_does_nothing_in_such_a_run_is_named(
    pytester: pytest.Pytester, kind: str, options: list[str], unread: str
) -> None:
    shown = run_empty(pytester, kind, *options)

    warnings = [line for line in shown.outlines if "do not read" in line]
    assert warnings == ([f"WARNING: these tests do not read {unread}"] if unread else [])


def test_each_kind_of_measurement_is_a_run_of_its_own(pytester: pytest.Pytester) -> None:
    body = "pass\n\n@pytest.mark.sweep\ndef test_sweep_NUMBER():\n    pass"

    shown = run_empty(pytester, "recovery", "-m", "recovery or sweep", body=body)

    assert shown.ret == pytest.ExitCode.USAGE_ERROR
    shown.stderr.fnmatch_lines(["ERROR: recovery and sweep are not measured in one run: select one of them with -m."])


@pytest.mark.parametrize(
    "options",
    [("--count=1",), ("--benchmark-disable", "--benchmark-enable"), ("-x",), ("--stepwise",), ("--lf",), ("--pdb",)],
    ids=" ".join,
)
def test_options_that_spoil_nothing_measure(pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    cached = ("-p", "cacheprovider", "-p", "stepwise") if options[0] in ("--lf", "--stepwise") else ()

    assert replay(pytester, run(*FAST), *cached, *options, conftest=WHOLE + OPTIONS).ret == 0
    assert left(pytester) == FILES


def test_a_worker_of_xdist_tells_its_controller_why_it_does_not_measure(pytester: pytest.Pytester) -> None:
    tells = "\ndef pytest_sessionfinish(session):\n    print('put out:', session.config.workeroutput)\n"

    shown = replay(pytester, run(*FAST), "-s", conftest=WHOLE + XDIST + tells)

    refused = "*put out: *ray_train_e2e_refused*-n (pytest-xdist) with end-to-end tests: * -p no:xdist, or -n 0.*"
    shown.stdout.fnmatch_lines([refused])
    assert not (pytester.path / "out").exists()


def test_the_controller_of_xdist_refuses_what_its_workers_refuse(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(xdist_plugin=CONTROLLER)
    pytester.syspathinsert()

    shown = replay(pytester, run(*FAST), "-p", "xdist_plugin", "-m", "not e2e", conftest=WHOLE)

    assert shown.ret == pytest.ExitCode.USAGE_ERROR
    shown.stderr.fnmatch_lines(["ERROR: -n: not with them."])


def test_other_tests_take_all_of_them(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_other="def test_other(): pass")
    options = ("--reruns=1", "--count=2", "-m", "not e2e")

    assert replay(pytester, run(*FAST), *options, conftest=WHOLE + OPTIONS + XDIST).parseoutcomes()["passed"] == 1


@pytest.mark.parametrize("measured", [True, False], ids=["in mid-run", "in the start"])
def test_pytest_timeout_ends_a_run_as_infra_in_one_sentence(pytester: pytest.Pytester, measured: bool) -> None:
    pytester.makepyfile(timeout_plugin=TIMEOUT)
    pytester.syspathinsert()
    keep = "pytestconfig.stash[SUMMARY] = summarise(RUN, SPREAD); " if measured else ""
    waits = WHOLE.replace("    summary = pyt", f"    {keep}import time; time.sleep(60)\n    summary = pyt")

    shown = replay(pytester, LOST, "-p", "timeout_plugin", conftest=waits)

    assert shown.ret == 11
    said = "pytest-timeout ended the run after 0.1 s. Give it more time, or leave --timeout out. *test-timeout)"
    shown.stdout.fnmatch_lines([said])
    assert len(shown.outlines) < 60
    assert (pytester.path / "out" / "summary.md").read_text().startswith("## INFRA")


def test_pytest_timeout_ends_each_killed_training_by_itself(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(timeout_plugin=TIMEOUT)
    pytester.syspathinsert()

    shown = run_empty(pytester, "recovery", "-p", "timeout_plugin", body="import time; time.sleep(60)")

    assert shown.ret == 11
    said = "pytest-timeout ended the run after 0.1 s. Give it more time, or leave --timeout out. *test-timeout)"
    shown.stdout.fnmatch_lines([said, said])


@pytest.mark.parametrize("dest", ["", ", dest='other'"], ids=["same dest", "another dest"])
@pytest.mark.parametrize("late", [False, True], ids=["before ours", "after ours"])
def test_an_option_that_another_plugin_has_as_well_names_it(pytester: pytest.Pytester, late: bool, dest: str) -> None:
    pytester.makepyfile(other_profiler=f"def pytest_addoption(parser):\n    parser.addoption('--profile'{dest})\n")
    pytester.syspathinsert()
    conftest = WHOLE.replace('"fixtures.plugin"', '"fixtures.plugin", "other_profiler"') if late else WHOLE

    shown = replay(pytester, run(*FAST), *([] if late else ["-p", "other_profiler"]), conftest=conftest)

    assert shown.ret == pytest.ExitCode.USAGE_ERROR
    taken = "--profile: the plugin other_profiler has an option of that name: run with -p no:other_profiler"
    shown.stderr.fnmatch_lines([f"ERROR: {taken}"])


def test_an_option_of_a_conftest_that_is_ours_is_to_be_renamed_there(pytester: pytest.Pytester) -> None:
    declares = "\ndef pytest_addoption(parser):\n    parser.addoption('--workers')\n"

    shown = replay(pytester, run(*FAST), conftest=WHOLE + declares)

    assert shown.ret == pytest.ExitCode.USAGE_ERROR
    shown.stderr.fnmatch_lines(["ERROR: --workers: the plugin *conftest.py has an option of that name: *"])


@pytest.mark.parametrize("plugin", ["junitxml", "html", "benchmark"])
def test_a_plugin_that_is_switched_off_costs_its_file_alone(pytester: pytest.Pytester, plugin: str) -> None:
    files = {"junitxml": "junit.xml", "html": "report.html", "benchmark": "benchmark.json"}

    shown = replay(pytester, run(*FAST), "-p", f"no:{plugin}", conftest=WHOLE)

    assert shown.ret == 0
    shown.stdout.fnmatch_lines(["reports: *"])
    assert left(pytester) == FILES - {files[plugin]}
