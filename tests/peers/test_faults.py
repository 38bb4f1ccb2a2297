"""Faults on demand."""

from __future__ import annotations

import pytest

from tests.peers.faults import Faults


def test_planned_faults_strike_in_their_place_and_time() -> None:
    """Where they were planned, after as many occasions, as often; and are counted."""
    faults = Faults(["slow", "gone"])
    faults.plan("slow", where="a/1", times=2, after=1)
    assert [faults.strikes("slow", "a/1") for _ in range(4)] == [False, True, True, False]
    assert not faults.strikes("slow", "a/2")
    assert faults.injected == {"slow": 2}
    with pytest.raises(ValueError, match="gone, slow"):
        faults.plan("sloow")


def test_a_storm_is_the_same_again_from_its_seed() -> None:
    """And strikes each kind as often as it was told to, about."""
    faults = Faults(["slow", "gone"])

    def strikes(seed: int) -> list[bool]:
        faults.storm(seed, {"slow": 0.2})
        return [faults.strikes("slow") for _ in range(500)]

    once, again, other = strikes(7), strikes(7), strikes(8)
    assert once == again != other
    assert 60 < sum(once) < 140
    assert not faults.strikes("gone")
    faults.clear()
    assert not any(faults.strikes("slow") for _ in range(100))
