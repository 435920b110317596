"""The `mri_registration` node: tracked ultrasound and an MRI in, a trusted transform out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker

from us_recon.errors import ConfigError, UsReconError
from us_recon.geometry.rigid import (
    Matrix4,
    invert_rigid,
    rotation_angle_rad,
)
from us_recon.imaging.events import PoseEvent
from us_recon.imaging.frame import TrackedFrame
from us_recon.io.volumes import read_volume
from us_recon.io.wire import MM_PER_M, NS_PER_S
from us_recon.msg import RegistrationStatus
from us_recon.pipeline.node_settings import RegistrationNodeSettings
from us_recon.pipeline.threads import use_one_thread
from us_recon.registration.patient_images import PatientImages, patient_images
from us_recon.registration.registrar import MriRegistration, RegistrationUpdate
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.surface_start import SurfaceSettings
from us_recon.ros import conversions, qos
from us_recon.ros.box_marker import box_marker
from us_recon.ros.consumer import FrameConsumer
from us_recon.ros.expected_images import ExpectedImages, live_renderer
from us_recon.ros.initial_pose import InitialPose
from us_recon.ros.parameters import declare_settings
from us_recon.ros.running import run

_FEW_WAITING = 2  # frames; with more the node has fallen behind
_LONGEST_S = 1.0  # without a step where it has
_NEARLY = 0.9  # of the period: stamps jitter, and a frame that is a little early is due


class MriRegistrationNode(FrameConsumer):
    """Register the MRI to the newest frames and publish its pose while it is trusted."""

    def __init__(self, **node_options: Any) -> None:
        """Declare parameters, read the MRI, subscribe and start the worker.

        Raises:
            ConfigError: No MRI is named, a parameter is out of range, or the device file is bad.
            InputError: The MRI cannot be read, or is not what `mri_contrast` says.
        """
        super().__init__("mri_registration", **node_options)
        self.settings = declare_settings(self, RegistrationNodeSettings)
        registration_settings = declare_settings(self, RegistrationSettings)
        self._min_score = registration_settings.min_score
        self.images = self._read_images()
        self.registration = MriRegistration(self.images, registration_settings)
        self.update: RegistrationUpdate | None = None
        self._frames_since_attempt = self._attempted_ns = 0
        self._newest_frame: TrackedFrame | None = None
        self._expected_ns = 0
        self._tf_publisher = self.create_publisher(TFMessage, "/tf", qos.TF)
        self._images = ExpectedImages(self, self.assembler_settings.transducer_frame)
        self._renderer = live_renderer(
            self.settings, self.images, lambda: self.registration.T_world_mri, self._images
        )
        self._box_publisher = self.create_publisher(Marker, "~/mri_box", qos.LATCHED)
        self._status_publisher = self.create_publisher(RegistrationStatus, "~/status", qos.STATUS)
        self.initial = InitialPose(
            self,
            self.settings,
            declare_settings(self, SurfaceSettings),
            self.assembler_settings.world_frame,
        )
        stamp = self.get_clock().now().to_msg()
        self._box_publisher.publish(box_marker(self.images.first, self.settings.mri_frame, stamp))
        self.start(self.settings.expected_period_s)

    @property
    def parent_frame(self) -> str:
        """Parent of the MRI in tf."""
        return self.settings.parent_frame or self.assembler_settings.world_frame

    @property
    def has_initial(self) -> bool:
        """Whether a first guess has been given."""
        return self.initial.waiting or self.registration.T_world_mri is not None

    @property
    def wants_images(self) -> bool:
        """Whether anybody listens to the expected images."""
        return self._images.wanted

    def work(self, frame: TrackedFrame) -> None:
        """Take a frame in and attempt a registration, go on with the attempt, or follow it up."""
        initial = self.initial.take()
        if initial is not None:
            self.registration.set_initial(initial)
        self._newest_frame = frame
        self.registration.add_frame(frame)
        self._frames_since_attempt += 1
        if self._is_due(frame):
            self._step(frame)
        self._publish_where_trusted(frame)

    def go_on(self) -> None:
        """Search on between two frames, so that none waits for the search to end."""
        frame = self._newest_frame
        if frame is None or not self.registration.searching:
            return
        while self.registration.searching and not self.worker.wanted:
            self._step(frame)
        self._publish_where_trusted(frame)

    @property
    def _is_live(self) -> bool:
        """Whether no image waits; a replay asks for all of them, to give the same each time."""
        return not self.source_settings.reliable_images

    def _step(self, frame: TrackedFrame) -> None:
        """Do a part of a search or, in a replay, all of it where it begins."""
        self._frames_since_attempt, self._attempted_ns = 0, frame.stamp_ns
        poses = self.settings.poses_per_step if self._is_live else None
        self.update = self.registration.step(poses)

    def _publish_where_trusted(self, frame: TrackedFrame) -> None:
        if self.update is not None and self.update.trusted:
            self._publish_transform(self.update.T_world_mri, frame.stamp_ns)

    def _is_due(self, frame: TrackedFrame) -> bool:
        """Tell whether to attempt or, by the frames' own stamps, to follow up a registration.

        Where frames wait, a live node first takes them in: it is the newest that count.
        """
        behind = self._is_live and self.worker.backlog - 1 > _FEW_WAITING  # this one aside
        if not self.registration.following:
            at_once = self.registration.searching and not behind
            return at_once or self._frames_since_attempt >= self.settings.register_every_frames
        since_ns = frame.stamp_ns - self._attempted_ns
        period_s = _LONGEST_S if behind else 1.0 / self.settings.follow_rate_hz
        return since_ns < 0 or since_ns >= _NEARLY * period_s * NS_PER_S

    def refresh(self) -> None:
        """Publish what the MRI, fitted to the newest frame, explains of it, if it is new."""
        frame, T_world_mri = self._newest_frame, self.registration.T_world_mri
        if self._renderer is not None or frame is None or T_world_mri is None:
            return
        if frame.stamp_ns != self._expected_ns:
            self._expected_ns = frame.stamp_ns
            self._images.publish(frame, self.registration.expected_image(frame, T_world_mri))

    def publish_status(self) -> None:
        """Publish counts, delays, the last attempt and what is missing.

        Raises:
            UsReconError: The renderer stopped working.
        """
        error = None if self._renderer is None else self._renderer.error
        if error is not None:
            raise UsReconError(f"{self.get_name()} stopped rendering: {error}") from error
        state, message = self._state()
        self._status_publisher.publish(
            RegistrationStatus(
                header=conversions.header_message(self.newest_ns, self.parent_frame),
                state=state,
                message=message,
                volume_frame_id=self.settings.mri_frame,
                **self.count_fields(),
                **self._attempt_fields(),
            )
        )

    def stop(self) -> None:
        """Finish the frames that wait and end the threads."""
        if self._renderer is not None:
            self._renderer.stop()
        super().stop()

    def _on_frame(self, frame: TrackedFrame) -> None:
        super()._on_frame(frame)
        if self._renderer is not None:
            self._renderer.put(frame)

    def _read_images(self) -> PatientImages:
        if not self.settings.mri_file:
            raise ConfigError("mri_file is empty; expected the path of the preoperative MRI")
        files = filter(None, (self.settings.mri_file, self.settings.second_mri_file))
        volumes = [read_volume(Path(file)) for file in files]
        return patient_images(volumes, self.settings.mri_contrast)

    def _publish_transform(self, T_world_mri: Matrix4, stamp_ns: int) -> None:
        world = self.assembler_settings.world_frame
        T_parent_mri = T_world_mri
        if self.parent_frame != world:
            found = self.source.assembler.tree.lookup(self.parent_frame, world, stamp_ns)
            if found.T is None:
                self.get_logger().warning(
                    f"no transform {world} -> {self.parent_frame}, the MRI's pose is not "
                    f"published: {found.detail}",
                    throttle_duration_sec=5.0,
                )
                return
            T_parent_mri = found.T @ T_world_mri
        event = PoseEvent(stamp_ns, T_parent_mri, self.parent_frame, self.settings.mri_frame)
        self._tf_publisher.publish(TFMessage(transforms=[conversions.transform_stamped(event)]))

    def _state(self) -> tuple[int, str]:
        waiting = self.source.waiting_message()
        if self.stalled:
            silent = f"no image for {self.consumer_settings.stall_after_s:g} s"
            return RegistrationStatus.STATE_STALLED, waiting or silent
        if self.frames_used == 0:
            return RegistrationStatus.STATE_WAITING, waiting or "the first frame is in work"
        if self.registration.T_world_mri is None:
            return RegistrationStatus.STATE_WAITING, self.initial.message
        if self.update is None:
            searching = "poses around the first guess are tried"
            collecting = "frames are collected"
            message = searching if self.registration.searching else collecting
            return RegistrationStatus.STATE_REGISTERING, message
        if self.update.trusted:
            return RegistrationStatus.STATE_REGISTERED, self.update.message
        return RegistrationStatus.STATE_REJECTED, self.update.message

    def _attempt_fields(self) -> dict[str, Any]:
        update = self.update
        if update is None:
            unknown = float("nan")
            return {"attempted": False, "confidence": unknown, "score_threshold": self._min_score}
        correction = update.T_world_mri @ invert_rigid(update.T_world_mri_initial)
        centre = update.centre_world_mm
        moved_mm = correction[:3, :3] @ centre + correction[:3, 3] - centre
        return {
            "attempted": True,
            "trusted": update.trusted,
            "score": update.score,
            "score_threshold": update.score_threshold,
            "confidence": update.confidence,
            "iterations": update.iterations,
            "window_frames": update.frames,
            "correction_translation": float(np.linalg.norm(moved_mm)) / MM_PER_M,
            "correction_rotation": rotation_angle_rad(correction),
            "transform": conversions.transform_message(update.T_world_mri),
        }


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    use_one_thread()
    return run(MriRegistrationNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
