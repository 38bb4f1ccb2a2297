"""Whatever happens on the way, a history ends in what the reference says; and a broken engine is caught."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from flockiq.serve.display import WHY
from tests.convergence.arrangement import MET
from tests.convergence.case import run
from tests.convergence.histories import CLOCK_US, history
from tests.convergence.main import ENOUGH, main
from tests.convergence.mutants import MUTANTS
from tests.convergence.reference import Outcome, expected

SEEDS = range(1000, 1005)
FOUND = {
    3: "a line that turned out to be wrong was never taken back",
    8: "what a replay does to siblings was not stored",
    133: "ties between what is told and a farewell were broken otherwise than said",
    169: "what time had decided stood, though a record of before came after",
    15: "a dropped version did not come back when a late one showed that it had been news",
}
"""Seeds of cases that differed once, and what was wrong then."""
CAUGHT_BY = {
    "a dropped version is forgotten": 5,
    "the fence is ignored": 4,
    "what was not yet published is forgotten by a restart": 1,
    "what a replay does to siblings is not stored": 104,
    "what a person did is ignored": 27,
    "an override that is over ends another": 11,
}
"""Where to begin to look for what few cases catch."""


@cache
def differences(seed: int) -> tuple[str, ...]:
    """How a case differs, worked out once."""
    return tuple(run(seed).differences)


@pytest.mark.parametrize("seed", SEEDS)
def test_any_arrangement_of_a_history_ends_in_what_it_means(seed: int) -> None:
    """Random order, repetition, batches, crashes, refusals and rivals: the reference's outcome, exactly."""
    assert differences(seed) == ()


@pytest.mark.parametrize("seed", FOUND)
def test_what_differed_once_does_not_differ_again(seed: int) -> None:
    """A case for each fault that was found."""
    assert differences(seed) == ()


def test_cases_meet_what_they_are_there_to_meet() -> None:
    """Crashes, moves, late and repeated versions, voided lines: a few cases have them all."""
    cases = [run(seed) for seed in range(4)]
    met = sum((case.counts for case in cases), Counter[str]())
    compared = sum((case.compared for case in cases), Counter[str]())
    assert [what for what in MET if not met[what]] == []
    assert sum(count for what, count in met.items() if what.startswith("killed")) > 10
    assert min(compared[name] for name in Outcome._fields) > 50


def test_every_rule_of_survivorship_decides_somewhere() -> None:
    """And so does none, or a person; but ``frequent`` leaves all who agree, so that a rule after it decides."""
    stories = [expected(history(seed), CLOCK_US) for seed in range(10)]
    assert {rule for story in stories for _, _, rule in story.golden_records.values()} == WHY.keys() - {"frequent"}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_fault_is_caught(name: str) -> None:
    """Within a bounded number of cases, each of which passes without the fault."""
    with MUTANTS[name]():
        seeds = [CAUGHT_BY.get(name, 0), *range(ENOUGH)]
        caught = next((seed for seed in seeds if run(seed).differences), None)
    assert caught is not None
    assert differences(caught) == ()


def test_the_command_reports_what_it_met(capsys: pytest.CaptureFixture[str]) -> None:
    """Cases, crashes, what was compared, and that nothing differed."""
    assert main(["--seed", "3"]) == 0
    told = capsys.readouterr().out
    for what in ("cases 1", "crashes injected", "golden records compared", "open alerts compared", "differences 0"):
        assert what in told
