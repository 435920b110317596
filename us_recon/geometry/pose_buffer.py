"""Time-stamped poses, looked up by interpolation and never by guessing."""

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from us_recon.errors import InputError
from us_recon.geometry.rigid import Matrix4, interpolate_rigid, invert_rigid, rotation_angle_rad

NS_PER_S = 1_000_000_000


class PoseStatus(StrEnum):
    """What a look-up found."""

    OK = "ok"
    WAIT = "wait"
    """The time lies after the newest pose: the pose may still come."""
    TOO_OLD = "too_old"
    """The time lies before the oldest pose that is held: the pose will not come."""
    GAP = "gap"
    """The two poses around the time are further apart in time than allowed."""
    TURN = "turn"
    """The two poses around the time differ by more rotation than can be interpolated."""
    JUMP = "jump"
    """The pose lies further from the one before it than a probe can have moved."""
    NO_PATH = "no_path"
    """No chain of transforms connects the two frames."""


class PoseLookup(NamedTuple):
    """A pose, or the reason why there is none."""

    status: PoseStatus
    T: Matrix4 | None = None
    detail: str = ""


@dataclass(frozen=True)
class PoseLimits:
    """When two neighbouring poses may be interpolated.

    Attributes:
        max_gap_s: Longest time between the two.
        max_turn_deg: Largest rotation between the two.
        max_step_mm: Largest distance between the two.
        capacity: Poses held; the oldest are forgotten first.
    """

    max_gap_s: float = 0.2
    max_turn_deg: float = 15.0
    max_step_mm: float = 50.0
    capacity: int = 20_000


class PoseBuffer:
    """Poses of one frame in another, ordered by time.

    A time that equals a stored stamp returns that pose; a time between two stamps is interpolated
    (translation linearly, rotation by slerp) if the limits allow; nothing is extrapolated. A pose
    that jumped away from the one shortly before it is not returned either: trackers do that for a
    moment when they lose a body or take up another one.
    """

    def __init__(self, limits: PoseLimits | None = None) -> None:
        self.limits = limits or PoseLimits()
        self._stamps_ns: list[int] = []
        self._poses: dict[int, Matrix4] = {}

    def __len__(self) -> int:
        return len(self._stamps_ns)

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest pose, or None where there is none."""
        return self._stamps_ns[-1] if self._stamps_ns else None

    def add(self, stamp_ns: int, T: Float64[np.ndarray, "4 4"]) -> None:
        """Store a pose; out of order is fine, and the last pose of a stamp counts."""
        if stamp_ns not in self._poses:
            insort(self._stamps_ns, stamp_ns)
        self._poses[stamp_ns] = T
        while len(self._stamps_ns) > self.limits.capacity:
            del self._poses[self._stamps_ns.pop(0)]

    def forget_after(self, stamp_ns: int) -> None:
        """Forget the poses that are newer than a time."""
        first = bisect_right(self._stamps_ns, stamp_ns)
        for newer in self._stamps_ns[first:]:
            del self._poses[newer]
        del self._stamps_ns[first:]

    def lookup(self, stamp_ns: int) -> PoseLookup:
        """Return the pose at a time, or the reason why there is none."""
        if not self._stamps_ns:
            return PoseLookup(PoseStatus.WAIT, detail="no pose has arrived")
        after = bisect_left(self._stamps_ns, stamp_ns)
        if stamp_ns in self._poses:
            return self._exactly(stamp_ns, self._stamps_ns[after - 1] if after else None)
        if after == len(self._stamps_ns):
            late_s = (stamp_ns - self._stamps_ns[-1]) / NS_PER_S
            return PoseLookup(PoseStatus.WAIT, detail=f"newest pose is {late_s:.3f} s older")
        if after == 0:
            early_s = (self._stamps_ns[0] - stamp_ns) / NS_PER_S
            return PoseLookup(PoseStatus.TOO_OLD, detail=f"oldest pose is {early_s:.3f} s newer")
        return self._interpolate(stamp_ns, self._stamps_ns[after - 1], self._stamps_ns[after])

    def _exactly(self, stamp_ns: int, before_ns: int | None) -> PoseLookup:
        if before_ns is not None and stamp_ns - before_ns <= self.limits.max_gap_s * NS_PER_S:
            jump = self._jump(before_ns, stamp_ns)
            if jump is not None:
                return jump
        return PoseLookup(PoseStatus.OK, self._poses[stamp_ns])

    def _jump(self, before_ns: int, after_ns: int) -> PoseLookup | None:
        step_mm = float(np.linalg.norm((self._poses[after_ns] - self._poses[before_ns])[:3, 3]))
        if step_mm <= self.limits.max_step_mm:
            return None
        detail = f"poses {step_mm:.3g} mm apart, limit {self.limits.max_step_mm:g} mm"
        return PoseLookup(PoseStatus.JUMP, detail=detail)

    def _interpolate(self, stamp_ns: int, before_ns: int, after_ns: int) -> PoseLookup:
        gap_s = (after_ns - before_ns) / NS_PER_S
        if gap_s > self.limits.max_gap_s:
            detail = f"poses {gap_s:.3f} s apart, limit {self.limits.max_gap_s} s"
            return PoseLookup(PoseStatus.GAP, detail=detail)
        T0, T1 = self._poses[before_ns], self._poses[after_ns]
        turn_deg = float(np.degrees(rotation_angle_rad(invert_rigid(T0) @ T1)))
        if turn_deg > self.limits.max_turn_deg:
            detail = f"poses turned by {turn_deg:.1f} deg, limit {self.limits.max_turn_deg} deg"
            return PoseLookup(PoseStatus.TURN, detail=detail)
        jump = self._jump(before_ns, after_ns)
        if jump is not None:
            return jump
        fraction = (stamp_ns - before_ns) / (after_ns - before_ns)
        return PoseLookup(PoseStatus.OK, interpolate_rigid(T0, T1, fraction))


class TransformTree:
    """Frames connected by static and moving transforms, as on ``/tf`` and ``/tf_static``.

    Each frame has one parent. A look-up walks from both frames to their common ancestor and takes
    every moving transform at the same time, each within the limits of its buffer.
    """

    def __init__(self, limits: PoseLimits | None = None) -> None:
        self.limits = limits or PoseLimits()
        self._parents: dict[str, str] = {}
        self._static: dict[str, Matrix4] = {}
        self._moving: dict[str, PoseBuffer] = {}

    @property
    def parents(self) -> dict[str, str]:
        """Parent of every known frame."""
        return dict(self._parents)

    def newest_ns(self, child: str) -> int | None:
        """Stamp of the newest moving transform of a frame, or None."""
        return self._moving[child].newest_ns if child in self._moving else None

    def add_static(self, parent: str, child: str, T: Float64[np.ndarray, "4 4"]) -> None:
        """Store a transform that holds at all times; a newer one replaces it."""
        self._attach(parent, child)
        self._moving.pop(child, None)
        self._static[child] = T

    def add_moving(
        self, parent: str, child: str, stamp_ns: int, T: Float64[np.ndarray, "4 4"]
    ) -> None:
        """Store the pose of `child` in `parent` at a time."""
        self._attach(parent, child)
        self._static.pop(child, None)
        self._moving.setdefault(child, PoseBuffer(self.limits)).add(stamp_ns, T)

    def forget_after(self, stamp_ns: int) -> None:
        """Forget the moving transforms that are newer than a time."""
        for buffer in self._moving.values():
            buffer.forget_after(stamp_ns)

    def lookup(self, target: str, source: str, stamp_ns: int) -> PoseLookup:
        """Return `T_target_source` at a time, or the reason why there is none."""
        up_source, up_target = self._chain(source), self._chain(target)
        common = next((frame for frame in up_source if frame in up_target), None)
        if common is None:
            detail = f"no transform connects {source!r} to {target!r}"
            return PoseLookup(PoseStatus.NO_PATH, detail=detail)
        down = self._product(up_source[: up_source.index(common)], stamp_ns)
        up = self._product(up_target[: up_target.index(common)], stamp_ns)
        if down.T is None or up.T is None:
            return down if down.T is None else up
        return PoseLookup(PoseStatus.OK, invert_rigid(up.T) @ down.T)

    def _attach(self, parent: str, child: str) -> None:
        if child in self._chain(parent):
            raise InputError(
                f"transform {parent!r} -> {child!r} closes a loop of frames; "
                "each frame has one parent and the frames form a tree"
            )
        if self._parents.get(child, parent) != parent:
            self._moving.pop(child, None)
            self._static.pop(child, None)
        self._parents[child] = parent

    def _chain(self, frame: str) -> list[str]:
        chain = [frame]
        while chain[-1] in self._parents:
            chain.append(self._parents[chain[-1]])
        return chain

    def _product(self, frames: list[str], stamp_ns: int) -> PoseLookup:
        """Return the transform from the first frame to the parent of the last one."""
        T = np.eye(4)
        for frame in frames:
            if frame in self._static:
                T = self._static[frame] @ T
                continue
            found = self._moving[frame].lookup(stamp_ns)
            if found.T is None:
                where = f"{self._parents[frame]} -> {frame}: {found.detail}"
                return PoseLookup(found.status, detail=where)
            T = found.T @ T
        return PoseLookup(PoseStatus.OK, T)
