"""Scores over many cases: what is prepared once equals what is computed anew; failures count."""

from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path

import numpy as np
import pytest

from benchmarks.bone_leg import figures, mask, surface
from benchmarks.brain_registration import row as brain_row
from benchmarks.cases import write_cases
from benchmarks.resect24 import FAR, NEAR, perturbed, wanted
from benchmarks.sets import SPINE_SETS
from benchmarks.spine_mapping import NO_SURFACE, note
from benchmarks.spine_mapping import row as spine_row
from benchmarks.true_surface import TrueSurface, distances
from us_recon.evaluation.mesh_metrics import score_mesh
from us_recon.evaluation.visibility import View
from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.mesh import Mesh


def test_a_prepared_truth_gives_the_same_scores(
    plate_at: Callable[..., Mesh], views: list[View]
) -> None:
    truth, mesh = plate_at(20.0), plate_at(21.5, z_mm=(1.0, 6.0))
    seen, whole = TrueSurface(truth, views).scores(mesh)
    assert seen == score_mesh(mesh, truth, views)
    assert whole == score_mesh(mesh, truth)


def test_region_and_incidence_are_passed_on(
    plate_at: Callable[..., Mesh], views: list[View]
) -> None:
    truth, mesh = plate_at(20.0), plate_at(21.5, z_mm=(8.0, 13.0))
    prepared = TrueSurface(truth, views, region_mm=2.0, max_incidence_deg=90.0)
    expected = score_mesh(mesh, truth, views, 2.0, max_incidence_deg=90.0)
    assert 0.0 < expected.in_region < 1.0
    assert prepared.scores(mesh)[0] == expected


def test_an_empty_mesh_is_infinitely_far(plate_at: Callable[..., Mesh], views: list[View]) -> None:
    seen, whole = TrueSurface(plate_at(20.0), views).scores(Mesh.empty())
    for score in (seen, whole):
        assert distances(score)["Chamfer mm"] == inf
        assert distances(score)["complete 2 mm"] == 0.0


def spine_case(chamfer_mm: float) -> dict[str, object]:
    keys = ("Chamfer mm", "HD95 mm", "median mm", "p95 mm", "truth to mesh mm", "whole Chamfer mm")
    return {
        **dict.fromkeys(keys, chamfer_mm),
        "complete 2 mm": 0.0 if chamfer_mm == inf else 0.9,
        "ms / frame": 1.0,
        "peak MiB": 2.0,
        "empty": chamfer_mm == inf,
    }


@pytest.mark.parametrize(
    ("chamfer_mm", "expected"),
    [
        ((1.0, 2.0, 5.0), 2.0),
        ((1.0, 2.0, inf), 2.0),  # one failure of three: the worst, not left out
        ((1.0, inf, inf), inf),
        ((inf, inf, inf), NO_SURFACE),
    ],
)
def test_a_patient_without_a_mesh_counts_as_infinitely_far(
    chamfer_mm: Sequence[float], expected: object
) -> None:
    row = spine_row("method", [spine_case(value) for value in chamfer_mm])
    assert row["Chamfer mm"] == expected
    assert row["empty"] == sum(value == inf for value in chamfer_mm)


def test_the_spine_table_has_its_columns() -> None:
    assert list(spine_row("method", [spine_case(1.0)])) == [
        "method", "patients", "Chamfer mm", "HD95 mm", "median mm", "p95 mm", "truth to mesh mm",
        "whole Chamfer mm", "complete 2 mm", "ms / frame", "peak MiB", "empty",
    ]  # fmt: skip


@pytest.mark.parametrize("name", SPINE_SETS)
def test_each_spine_table_says_what_it_is_about(name: str) -> None:
    text = note(SPINE_SETS[name], (100, 101))
    assert name in text and "100, 101" in text and "{" not in text


def brain_case(start_mm: float, after_mm: float, accepted: object) -> dict[str, object]:
    return {
        "start mm": start_mm,
        "after mm": after_mm,
        "accepted": accepted,
        "gap": 0.2,
        "attempt s": 0.5,
        "CPU s": 1.0,
        "peak MiB": 2.0,
    }


def test_a_registration_accepted_wrongly_is_counted() -> None:
    cases = [
        brain_case(5.0, 1.0, True),
        brain_case(15.0, 2.0, False),
        brain_case(15.0, 9.0, True),
        brain_case(25.0, 20.0, False),
    ]
    row = brain_row("method", cases)
    assert row["success"] == "50%" and row["median of successes mm"] == 1.5
    assert row["median mm"] == 5.5  # of 1, 2, 9 and 20
    assert row["accepted"] == "50%" and row["wrong"] == 1
    assert [row[f"{low} to {low + 10} mm"] for low in (0, 10, 20)] == ["100%", "50%", "0%"]


def test_a_method_without_a_gate_accepts_nothing_and_rejects_nothing() -> None:
    row = brain_row("method", [brain_case(5.0, 1.0, "-")])
    assert row["accepted"] == "-" and row["wrong"] == "-" and row["10 to 20 mm"] == "-"


def test_cases_are_written_whole(tmp_path: Path) -> None:
    write_cases("set", [{"seed": 1, "mm": 0.123456789}, {"seed": 2, "mm": inf}], tmp_path)
    lines = (tmp_path / "set_cases.csv").read_text().splitlines()
    assert lines == ["seed,mm", "1,0.12346", "2,inf"]


def test_a_label_is_cut_behind_the_surface(scan: Callable[..., list[TrackedFrame]]) -> None:
    frame = scan(every=0)[0]
    depth_mm = np.full(80, 20.0)
    depth_mm[:40] = np.nan  # no surface on the left half
    label = mask(surface(frame, depth_mm, 80), frame.geometry)
    # Rows of 0.4 mm: centres from 20.2 to 23.0 mm are inside.
    rows, columns = np.nonzero(label)
    assert (rows.min(), rows.max()) == (50, 57)
    assert columns.min() == 50 and columns.max() == 99


def test_a_leg_without_a_surface_is_said_in_words(
    plate_at: Callable[..., Mesh], views: list[View]
) -> None:
    score, _ = TrueSurface(plate_at(20.0), views).scores(Mesh.empty())
    assert figures(score)["median mm"] == "no surface"


@pytest.mark.parametrize("starts", [NEAR, FAR])
def test_starts_stay_within_their_reach(starts: object) -> None:
    assert starts in (NEAR, FAR)
    reach = NEAR if starts is NEAR else FAR
    poses = list(perturbed(np.eye(4), np.zeros(3), reach))
    shifts = np.linalg.norm([T[:3, 3] for T in poses], axis=1)
    angles = np.degrees([np.arccos((np.trace(T[:3, :3]) - 1.0) / 2.0) for T in poses])
    assert len(poses) == reach.count
    assert 0.8 * reach.mm < shifts.max() <= reach.mm
    assert 0.8 * reach.deg < angles.max() <= reach.deg


def test_every_start_has_its_baselines() -> None:
    for starts in (NEAR, FAR):
        methods = {method for mri, method in wanted(starts) if mri == "FLAIR"}
        assert {"identity", "LC2 with Nelder-Mead", "mutual information"} <= methods
