"""The reliability script at a small scale; ``python -m benchmarks.reliability`` does it at the full one."""

from __future__ import annotations

import sys

import pytest

from benchmarks import reliability

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="forks and signals of POSIX")


def test_thirty_kills_lose_nothing():
    assert reliability.kills(30) == 0


def test_sigterm_is_answered_in_every_phase():
    assert reliability.signals(2) == 0


def test_stops_in_random_configurations_resume_exactly():
    assert reliability.stops(6, seed=5) == 0


def test_a_full_disk_leaves_the_old_checkpoint_and_no_litter():
    assert reliability.full(20) == 0


def test_damage_anywhere_is_noticed_and_the_one_before_loaded():
    assert reliability.flips(80) == 0


def test_hostile_files_are_refused_without_a_crash():
    assert reliability.fuzz(4000) == 0
