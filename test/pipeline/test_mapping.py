"""What node and replay share of a mapping run."""

import pytest

from us_recon.pipeline.mapping import steps_under_backlog


@pytest.mark.parametrize(("waiting", "steps"), [(0, 4), (2, 4), (3, 2), (8, 2), (9, 1), (1000, 1)])
def test_steps_drop_from_four_to_two_to_one(waiting: int, steps: int) -> None:
    assert steps_under_backlog(waiting, 4) == steps


def test_there_is_always_a_step_unless_none_is_wanted() -> None:
    assert steps_under_backlog(100, 1) == 1
    assert steps_under_backlog(100, 0) == 0
