"""Expected images and their overlays, published in a thread of their own."""

from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8
from rclpy.node import Node
from sensor_msgs.msg import Image

from us_recon.acoustics.expected_image import expected_image
from us_recon.acoustics.settings import RenderSettings
from us_recon.acoustics.volume import AcousticVolume
from us_recon.errors import ConfigError
from us_recon.evaluation.registration_figure import overlay
from us_recon.geometry.rigid import Matrix4, invert_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.io.device_files import read_device
from us_recon.pipeline.node_settings import RegistrationNodeSettings
from us_recon.registration.patient_images import PatientImages
from us_recon.ros import conversions, qos
from us_recon.ros.worker import Worker


class ExpectedImages:
    """Publish an expected image on `~/expected_image`, over the measured one on `~/overlay`."""

    def __init__(self, node: Node, frame_id: str) -> None:
        """Make the publishers.

        Args:
            node: The node that publishes.
            frame_id: Frame that the images are stamped with.
        """
        profile = qos.stream(reliable=True, depth=5)
        self._expected = node.create_publisher(Image, "~/expected_image", profile)
        self._overlay = node.create_publisher(Image, "~/overlay", profile)
        self._frame_id = frame_id

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        listeners = self._expected.get_subscription_count() + self._overlay.get_subscription_count()
        return int(listeners) > 0

    def publish(self, frame: TrackedFrame, expected: UInt8[np.ndarray, "rows columns"]) -> None:
        """Publish the image expected for a frame, and both together."""
        for publisher, image in (
            (self._expected, expected),
            (self._overlay, overlay(frame.image, expected)),
        ):
            publisher.publish(conversions.image_message(image, frame.stamp_ns, self._frame_id))


class LiveRenderer:
    """Render the newest frame's image, and skip those that came while one was in work."""

    def __init__(
        self,
        volume: AcousticVolume,
        settings: RenderSettings,
        T_world_mri: Callable[[], Matrix4 | None],
        images: ExpectedImages,
    ) -> None:
        """Start the thread.

        Args:
            volume: The patient.
            settings: How to render, and for which device.
            T_world_mri: Gives the pose of the volume as it is known now.
            images: Where to publish.
        """
        self._volume, self._settings = volume, settings
        self._T_world_mri, self._images = T_world_mri, images
        self._worker: Worker[TrackedFrame] = Worker(
            self._render, idle=_nothing, on_drop=_skipped, capacity=1
        )

    @property
    def error(self) -> BaseException | None:
        """What ended the thread, if anything did."""
        return self._worker.error

    def put(self, frame: TrackedFrame) -> None:
        """Take the newest frame; an older one that still waits is skipped."""
        if self._images.wanted:
            self._worker.put(frame)

    def stop(self) -> None:
        """End the thread."""
        self._worker.stop(finish=False)

    def _render(self, frame: TrackedFrame) -> None:
        T_world_mri = self._T_world_mri()
        if T_world_mri is None:
            return
        T_mri_transducer = invert_rigid(T_world_mri) @ frame.T_world_transducer
        found = expected_image(self._volume, T_mri_transducer, frame.geometry, self._settings)
        self._images.publish(frame, found.image)


def live_renderer(
    settings: RegistrationNodeSettings,
    patient: PatientImages,
    T_world_mri: Callable[[], Matrix4 | None],
    images: ExpectedImages,
) -> LiveRenderer | None:
    """Make the renderer of a patient; None where the settings ask for none.

    Raises:
        ConfigError: It is not said what the MRI is, or the device file is bad.
    """
    if settings.expected != "render":
        return None
    if patient.acoustics is None:
        raise ConfigError(
            "expected is 'render' and mri_contrast is empty; expected t1, t2, flair or ct: what "
            "the image in mri_file is"
        )
    device = read_device(settings.device_file) if settings.device_file else RenderSettings()
    return LiveRenderer(patient.acoustics, device, T_world_mri, images)


def _nothing() -> None:
    """Do nothing between two frames."""


def _skipped(_: TrackedFrame) -> None:
    """Leave out a frame: the next one is newer."""
