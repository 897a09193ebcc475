"""Killed at any moment, a job goes on: every row is there once, and only what was in flight is paid for again."""

import pytest

from headway.sim.server import serving
from tests.jobs.killing import SIMULATOR, killed


@pytest.fixture(scope="module")
def provider():
    with serving(SIMULATOR) as url:
        yield url


@pytest.mark.parametrize("lane", ["online", "batch"])
def test_killed_again_and_again(provider, tmp_path, lane):
    """Six kills of a job; `killing` runs a seed again."""
    assert killed(provider, tmp_path, lane=lane, seed=0, rows=120, kills=6)


@pytest.mark.soak
@pytest.mark.parametrize("lane", ["online", "batch"])
def test_two_hundred_kills(provider, tmp_path, lane):
    """A hundred kills of jobs of 2,000 rows on each lane."""
    done = seed = 0
    while done < 100:
        folder = tmp_path / str(seed)
        folder.mkdir()
        try:
            done += killed(provider, folder, lane=lane, seed=seed, rows=2_000, kills=4)
        except AssertionError as error:
            error.add_note(f"again: python -m tests.jobs.killing {lane} {seed}")
            raise
        seed += 1
