"""What is said of good and of bad calibrations."""

from typing import Any

import numpy as np
import pytest

from us_recon.calibration.agreement import AgreementMeter
from us_recon.calibration.checks import Verdict, check_probe
from us_recon.calibration.correction import disagreement_mm, find_correction
from us_recon.calibration.recording import read_recording
from us_recon.geometry.rigid import Matrix4, exp_se3, transform_points
from us_recon.imaging.events import PoseEvent


def verdicts(events: Any) -> dict[str, Verdict]:
    return {check.name: check.verdict for check in check_probe(read_recording(events)).checks}


def with_calibration(events: list[Any], T: Matrix4) -> list[Any]:
    static = PoseEvent(events[1].stamp_ns, T, "probe", "transducer", static=True)
    return [events[0], static, *events[2:]]


def test_nothing_is_said_against_a_good_calibration(recorded: Any) -> None:
    found = verdicts(recorded())
    assert set(found.values()) == {Verdict.GOOD}


def test_a_wrong_calibration_is_found_and_told_by_how_much(recorded: Any) -> None:
    T_error = exp_se3(np.array([1.5, -1.5, 1.0, 0.02, 0.05, -0.03]))
    meter = AgreementMeter(read_recording(recorded(T_error=T_error)))
    found = find_correction(meter)
    assert found is not None and found.after > found.before + 0.008
    points = np.array([[-10.0, 5.0, 0.0], [10.0, 5.0, 0.0], [0.0, 20.0, 0.0]])

    def off_mm(T: Matrix4) -> float:
        return float(np.linalg.norm(transform_points(T, points) - points, axis=1).mean())

    assert off_mm(T_error) > 2.0
    assert off_mm(T_error @ found.T_transducer_corrected) < 0.6
    assert found.size_mm == pytest.approx(off_mm(T_error), abs=0.7)


def test_passes_of_a_good_calibration_lie_on_each_other(recorded: Any) -> None:
    apart_mm = disagreement_mm(AgreementMeter(read_recording(recorded())))
    assert np.nanmedian(np.abs(apart_mm)) < 0.2


def test_a_mirrored_image_is_told(recorded: Any) -> None:
    assert verdicts(recorded(mirrored=True))["mirrored"] is Verdict.BAD


@pytest.mark.parametrize(
    ("T", "verdict", "words"),
    [
        (np.diag([1.0, 1.0, -1.0, 1.0]), Verdict.BAD, "left-handed"),
        (np.diag([0.05, 0.05, 1.0, 1.0]), Verdict.BAD, "no rotation"),
        (np.eye(4), Verdict.WARNING, "the identity"),
    ],
)
def test_the_matrix_itself_is_looked_at(
    recorded: Any, T: Matrix4, verdict: Verdict, words: str
) -> None:
    from us_recon.calibration import checks

    recording = read_recording(recorded(moves=False, turns=False))
    object.__setattr__(recording, "T_parent_transducer", T)
    check = checks._calibration(recording)
    assert check.verdict is verdict and words in check.advice
