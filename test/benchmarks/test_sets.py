import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.procedures import BRAIN_TRACKING
from benchmarks.sets import (
    BRAIN_REG,
    OFF_MM,
    RECORD,
    SPINE_SETS,
    MappingCase,
    digest,
    moved_label,
    record,
    spine_scan,
)
from us_recon.geometry.rigid import invert_rigid, rotation_angle_rad
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.probe import ProbeGeometry

SETS = [*SPINE_SETS.values(), BRAIN_REG, BRAIN_TRACKING]


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[str, object]]:
    return record()


def test_every_set_is_as_recorded(seen: dict[str, dict[str, object]]) -> None:
    recorded = json.loads(RECORD.read_text())
    assert set(seen) == set(recorded)
    for name, known in recorded.items():
        hint = f"{name} has changed: raise its version and run `python -m benchmarks.sets`"
        assert seen[name]["version"] == known["version"], hint
        assert seen[name]["definition"] == known["definition"], hint
        if "image" in known:
            # Other processors round differently: blocks may differ by half a grey level.
            np.testing.assert_allclose(seen[name]["image"], known["image"], atol=0.5, err_msg=hint)


def test_a_changed_definition_is_noticed() -> None:
    assert digest(["a", {"b": 1.0}]) == digest(["a", {"b": 1.0}])
    assert digest(["a", {"b": 1.0}]) != digest(["a", {"b": 1.5}])


@pytest.mark.parametrize("one", SETS, ids=lambda one: one.name)
def test_development_and_test_patients_are_apart(one: object) -> None:
    assert not set(one.seeds_dev) & set(one.seeds_test)  # type: ignore[attr-defined]


def test_starts_are_spread_over_the_whole_reach() -> None:
    starts = np.array([BRAIN_REG.start(seed) for seed in BRAIN_REG.seeds_test])
    assert len(starts) == 30
    for column, reach in zip(starts.T, (30.0, 20.0), strict=True):
        # One start in each thirtieth of the reach.
        parts = np.floor(np.sort(column) / reach * 30.0)
        np.testing.assert_array_equal(parts, np.arange(30))


def test_a_start_is_off_by_what_the_set_says() -> None:
    seed = BRAIN_REG.seeds_dev[0]
    case = BRAIN_REG.case(seed)
    assert (case.start_mm, case.start_deg) == BRAIN_REG.start(seed)
    off = case.T_world_mri_start @ invert_rigid(case.T_world_mri)
    assert np.degrees(rotation_angle_rad(off)) == pytest.approx(case.start_deg)
    assert len(case.frames) > 15 and len(case.targets_mri_mm) == 20


def labelled(case: MappingCase) -> np.ndarray:
    return np.array([frame.label is not None for frame in case.frames])


@pytest.fixture(scope="module")
def frames() -> list[TrackedFrame]:
    """Forty frames with a label each, in place of a scan that takes half a minute."""
    geometry = ProbeGeometry.linear(20.0, 20.0, 40, 40)
    label = np.zeros((40, 40), np.uint8)
    label[18:22, 18:22] = 255
    return [
        TrackedFrame(1000 + number, np.zeros((40, 40), np.uint8), np.eye(4), geometry, label)
        for number in range(40)
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("spine-k1", [1] * 40),
        ("spine-k5", [1, 0, 0, 0, 0] * 8),
        ("spine-k20", ([1] + [0] * 19) * 2),
        ("spine-k0", [0] * 40),
        # Of the labels on every 5th frame, every second one is not there.
        ("spine-k5-missing", ([1] + [0] * 9) * 4),
        ("spine-k5-off", [1, 0, 0, 0, 0] * 8),
    ],
)
def test_labels_of_a_set(
    frames: list[TrackedFrame],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    expected: list[int],
) -> None:
    monkeypatch.setattr("benchmarks.sets.spine_scan", lambda _: (StandIn(), frames))
    case = SPINE_SETS[name].case(0)
    np.testing.assert_array_equal(labelled(case), np.array(expected, bool))
    changed = [
        not np.array_equal(frame.label, before.label)
        for frame, before in zip(case.frames, frames, strict=True)
        if frame.label is not None
    ]
    assert changed == ([False, True] * 4 if name == "spine-k5-off" else [False] * len(changed))


class StandIn:
    """What a set asks of a cell beside its frames."""

    image_stamps_ns = np.arange(1000, 1040)
    T_world_transducer = np.tile(np.eye(4), (40, 1, 1))
    geometry = ProbeGeometry.linear(20.0, 20.0, 40, 40)

    def true_meshes(self) -> dict[str, None]:
        return {"bone": None}


def test_moved_labels_are_off_by_the_asked_distance(frames: list[TrackedFrame]) -> None:
    rng = np.random.default_rng(0)
    distances_mm = []
    for _ in range(50):
        moved = moved_label(frames[0], rng)
        assert moved.sum() == 16 * 255
        rows, columns = np.nonzero(moved)
        distances_mm.append(0.5 * np.hypot(rows.mean() - 19.5, columns.mean() - 19.5))
    # Whole pixels of 0.5 mm: up to 0.36 mm beside the asked distance.
    assert min(distances_mm) > OFF_MM[0] - 0.4 and max(distances_mm) < OFF_MM[1] + 0.4
    assert np.ptp(distances_mm) > 2.0


def test_one_scan_serves_all_sets() -> None:
    assert spine_scan.cache_info().maxsize == 1
    assert {replace(one, name="", label_every=0, labels="") for one in SPINE_SETS.values()} == {
        replace(SPINE_SETS["spine-k1"], name="", label_every=0, labels="")
    }
