"""The latency of recordings made with a known one."""

from typing import Any

import numpy as np
import pytest

from us_recon.calibration.latency import LatencySettings, estimate_latency
from us_recon.calibration.recording import read_recording
from us_recon.errors import InputError
from us_recon.imaging.assembler import AssemblerSettings

NEAR = LatencySettings(max_latency_s=0.24)


@pytest.mark.parametrize("latency_s", [0.0, 0.087])
def test_a_known_latency_is_found(recorded: Any, latency_s: float) -> None:
    found = estimate_latency(read_recording(recorded(latency_s)), NEAR)
    assert found.latency_s == pytest.approx(latency_s, abs=0.005)
    assert found.error_s < 0.005


def test_an_offset_in_use_is_taken_into_account(recorded: Any) -> None:
    # Images are 60 ms late and 100 ms are taken off: 40 ms too much.
    settings = AssemblerSettings(image_time_offset_s=-0.1)
    found = estimate_latency(read_recording(recorded(0.06), settings), NEAR)
    assert found.latency_s == pytest.approx(-0.04, abs=0.005)


def test_a_probe_that_rests_tells_nothing(recorded: Any) -> None:
    found = estimate_latency(read_recording(recorded(0.05, moves=False, turns=False)), NEAR)
    assert not found.known and np.isnan(found.error_s)
    assert all(each.doubt for each in found.evidence)


def test_a_latency_beyond_the_range_is_not_believed(recorded: Any) -> None:
    recording = read_recording(recorded(0.3))
    found = estimate_latency(recording, LatencySettings(max_latency_s=0.16))
    assert not found.known


def test_too_few_images_are_refused(recorded: Any) -> None:
    with pytest.raises(InputError, match="expected 20 or more; `us-recon inspect` says"):
        read_recording(recorded()[:60])
