"""The virtual robot: a planned sweep becomes a trajectory of the probe on the patient."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, Slerp

from us_recon.errors import ConfigError
from us_recon.imaging.probe import ProbeGeometry
from us_recon.settings import setting
from us_recon.simulation.scene import Scene

KNOT_S = 0.05
CONTACT_STEPS = 12
NORMAL_SPAN_MM = 8.0


@dataclass(frozen=True)
class SweepSettings:
    """How the probe is moved over the patient."""

    sweep: str = setting(
        "linear",
        "Slide once, tilt on the spot, or slide in parallel lanes.",
        choices=("linear", "fan", "raster"),
    )
    length_mm: float = setting(
        80.0, "Length of a slide, along the approach's z axis.", unit="mm", minimum=1.0
    )
    lanes: int = setting(3, "Lanes of a raster.", minimum=2, maximum=20)
    lane_spacing_mm: float = setting(15.0, "Distance between lanes.", unit="mm", minimum=0.5)
    tilt_deg: float = setting(
        25.0, "A fan tilts by this to both sides.", unit="deg", minimum=1.0, maximum=60.0
    )
    slant_deg: float = setting(0.0, "Constant tilt of a slide.", unit="deg")
    rock_deg: float = setting(
        0.0,
        "A slide tilts back and forth by this, so that surfaces are seen from several sides.",
        unit="deg",
        minimum=0.0,
        maximum=45.0,
    )
    rock_length_mm: float = setting(
        20.0, "Way over which it tilts there and back.", unit="mm", minimum=1.0
    )
    turn_deg: float = setting(0.0, "Turn of the probe about its depth axis.", unit="deg")
    speed_mm_s: float = setting(10.0, "Speed of a slide.", unit="mm/s", minimum=0.1)
    tilt_speed_deg_s: float = setting(6.0, "Speed of a tilt.", unit="deg/s", minimum=0.1)
    follow: float = setting(
        0.7, "How far the probe turns to the skin's normal, 0 to 1.", minimum=0.0, maximum=1.0
    )
    press_mm: float = setting(
        0.5, "How far the probe's highest contact sinks in; less than 0 stands off.", unit="mm"
    )


class Trajectory:
    """Poses of the array face over time.

    Args:
        times_s: Knot times, increasing.
        T_scene_transducer: Pose at each knot.
    """

    def __init__(
        self,
        times_s: Float64[np.ndarray, " n"],
        T_scene_transducer: Float64[np.ndarray, "n 4 4"],
    ) -> None:
        self._times_s = times_s
        self._positions_mm = T_scene_transducer[:, :3, 3]
        self._rotations = Slerp(times_s, Rotation.from_matrix(T_scene_transducer[:, :3, :3]))

    @property
    def duration_s(self) -> float:
        """Time from the first to the last knot."""
        return float(self._times_s[-1])

    def poses(self, times_s: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 4 4"]:
        """Return `T_scene_transducer` at times; before the start and after the end it rests."""
        held = np.clip(times_s, self._times_s[0], self._times_s[-1])
        T = np.tile(np.eye(4), (len(held), 1, 1))
        T[:, :3, :3] = self._rotations(held).as_matrix()
        for axis in range(3):
            T[:, axis, 3] = np.interp(held, self._times_s, self._positions_mm[:, axis])
        return T


def plan_sweep(scene: Scene, geometry: ProbeGeometry, settings: SweepSettings) -> Trajectory:
    """Plan a sweep and lay the probe on the patient along it.

    Raises:
        ConfigError: The sweep leaves the part of the patient that can be scanned.
    """
    times_s, across_mm, along_mm, tilt_deg = _plan(settings)
    T = _place(scene, geometry, settings, across_mm, along_mm)
    low, high = scene.bounds_mm
    if np.any(T[:, :3, 3] < low) or np.any(T[:, :3, 3] > high):
        raise ConfigError(
            f"the {settings.sweep} sweep leaves the scanned part of scene {scene.name!r}; "
            "shorten length_mm or lane_spacing_mm"
        )
    turns = Rotation.from_euler("y", settings.turn_deg, degrees=True).as_matrix()
    tilts = Rotation.from_euler("x", tilt_deg[:, None], degrees=True).as_matrix()
    T[:, :3, :3] = T[:, :3, :3] @ turns @ tilts
    _lower(scene, geometry, settings.press_mm, T)
    return Trajectory(times_s, T)


def _plan(
    settings: SweepSettings,
) -> tuple[
    Float64[np.ndarray, " n"],
    Float64[np.ndarray, " n"],
    Float64[np.ndarray, " n"],
    Float64[np.ndarray, " n"],
]:
    """Return knot times and, at each, lateral and sweep position and the tilt."""
    half = settings.length_mm / 2.0
    if settings.sweep == "fan":
        corners = np.array([[0.0, 0.0, -settings.tilt_deg], [0.0, 0.0, settings.tilt_deg]])
    elif settings.sweep == "linear":
        slant = settings.slant_deg
        corners = np.array([[0.0, -half, slant], [0.0, half, slant]])
    else:
        lanes = (np.arange(settings.lanes) - (settings.lanes - 1) / 2.0) * settings.lane_spacing_mm
        ends = [(half if lane % 2 else -half) for lane in range(settings.lanes)]
        corners = np.array(
            [
                [x, z, settings.slant_deg]
                for x, start in zip(lanes, ends, strict=True)
                for z in (start, -start)
            ]
        )
    steps = np.diff(corners, axis=0)
    slide_s = np.linalg.norm(steps[:, :2], axis=1) / settings.speed_mm_s
    tilt_s = np.abs(steps[:, 2]) / settings.tilt_speed_deg_s
    corner_s = np.concatenate([[0.0], np.cumsum(np.maximum(slide_s, tilt_s))])
    times_s = np.linspace(0.0, corner_s[-1], max(4, int(np.ceil(corner_s[-1] / KNOT_S)) + 1))
    across, along, tilt = (np.interp(times_s, corner_s, column) for column in corners.T)
    if settings.sweep != "fan":
        way_mm = np.interp(times_s, corner_s, np.cumsum(np.r_[0.0, slide_s]) * settings.speed_mm_s)
        tilt = tilt + settings.rock_deg * np.sin(2.0 * np.pi * way_mm / settings.rock_length_mm)
    return times_s, across, along, tilt


def _place(
    scene: Scene,
    geometry: ProbeGeometry,
    settings: SweepSettings,
    across_mm: Float64[np.ndarray, " n"],
    along_mm: Float64[np.ndarray, " n"],
) -> Float64[np.ndarray, "n 4 4"]:
    """Put the probe on the surface and turn it to the smoothed normal."""
    approach = scene.T_scene_approach
    offsets = across_mm[:, None] * approach[:3, 0] + along_mm[:, None] * approach[:3, 2]
    T = np.tile(approach, (len(across_mm), 1, 1))
    T[:, :3, 3] += offsets
    _lower(scene, geometry, settings.press_mm, T)
    inward = -_gradient(scene, T[:, :3, 3])
    inward = gaussian_filter1d(inward, 0.5 / KNOT_S, axis=0, mode="nearest")
    y = (1.0 - settings.follow) * approach[:3, 1] + settings.follow * inward
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    z = approach[:3, 2] - (y @ approach[:3, 2])[:, None] * y
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    T[:, :3, 0], T[:, :3, 1], T[:, :3, 2] = np.cross(y, z), y, z
    return T


def _lower(
    scene: Scene, geometry: ProbeGeometry, press_mm: float, T: Float64[np.ndarray, "n 4 4"]
) -> None:
    """Move each pose along its depth axis until the array face touches the patient."""
    face = geometry.beam_origins_mm[:: max(1, geometry.beam_count // 16)]
    face = np.column_stack([face, np.zeros(len(face))])
    for _ in range(CONTACT_STEPS):
        points = np.einsum("nij,fj->nfi", T[:, :3, :3], face) + T[:, None, :3, 3]
        distance = scene.contact_distance_mm(points.reshape(-1, 3)).reshape(len(T), -1)
        T[:, :3, 3] += (distance.min(axis=1) + press_mm)[:, None] * T[:, :3, 1]


def _gradient(scene: Scene, points_mm: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """Return the outward normal of the contact surface, taken over the size of a probe."""
    step = NORMAL_SPAN_MM * np.eye(3)
    slope = [
        scene.contact_distance_mm(points_mm + axis) - scene.contact_distance_mm(points_mm - axis)
        for axis in step
    ]
    normal = np.stack(slope, axis=1)
    return np.asarray(normal / np.linalg.norm(normal, axis=1, keepdims=True))
