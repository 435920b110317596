"""The `occupancy_mapper` node: tracked ultrasound in, a growing surface out."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from sensor_msgs.msg import PointCloud2
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker

from us_recon.errors import UsReconError
from us_recon.geometry.pose_buffer import NS_PER_S
from us_recon.imaging.assembler import DropReason
from us_recon.imaging.frame import TrackedFrame
from us_recon.io.wire import MM_PER_M
from us_recon.msg import MappingStatus
from us_recon.occupancy.mapper import MapMethod, MapperSettings, MapSnapshot, OccupancyMapper
from us_recon.occupancy.mesh import Mesh
from us_recon.occupancy.region import Shown
from us_recon.pipeline.mapping import (
    save_map_outputs,
    save_settled_map_outputs,
    steps_under_backlog,
)
from us_recon.pipeline.node_settings import MapperNodeSettings
from us_recon.pipeline.threads import use_one_thread
from us_recon.ros import conversions, qos
from us_recon.ros.consumer import FrameConsumer
from us_recon.ros.distribution import cloud_message
from us_recon.ros.mesh_marker import mesh_marker
from us_recon.ros.parameters import declare_settings
from us_recon.ros.running import run

BONE_RGBA = (0.93, 0.87, 0.73, 1.0)


class OccupancyMapperNode(FrameConsumer):
    """Integrate each tracked frame into the map and publish the surface as a marker."""

    late_labels = True

    def __init__(self, **node_options: Any) -> None:
        """Declare parameters, subscribe and start the worker."""
        super().__init__("occupancy_mapper", **node_options)
        self.settings = declare_settings(self, MapperNodeSettings)
        self.mapper = self._new_mapper(declare_settings(self, MapperSettings))
        self._mapper_lock = Lock()  # between the worker and the services
        self._labelled = 0
        self._sources: set[str] = set()
        self.mesh_count = 0
        self._integrated, self._meshed = self.mapper.frames, 0  # a map to go on from is shown
        self._paused = False
        self._snapshot: MapSnapshot | None = None  # None until there is one of the map as it is
        self._mesh_publisher = self.create_publisher(Marker, "~/mesh", qos.LATCHED)
        self._points_publisher = self.create_publisher(PointCloud2, "~/points", qos.STATUS)
        self._status_publisher = self.create_publisher(MappingStatus, "~/status", qos.STATUS)
        self.create_service(Trigger, "~/save", self._on_save)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(Trigger, "~/pause", self._on_pause)
        self.create_service(Trigger, "~/resume", self._on_resume)
        self.start(self.settings.mesh_period_s)

    def work(self, frame: TrackedFrame) -> None:
        """Integrate one frame."""
        with self._mapper_lock:
            settings = self.mapper.settings
            steps, learning = settings.steps_per_frame, settings.learning_steps
            result = self.mapper.integrate(frame, self._steps(steps), self._steps(learning))
        self._integrated += 1
        self._labelled += frame.label is not None
        self._sources.add(str(result.source))
        if result.surface is not None:
            self._publish_points(frame, result.surface)

    def refresh(self) -> None:
        """Extract the mesh and publish it, if frames came since the last time.

        A field's is the fast one; `save` writes the complete one.
        """
        if self._integrated == self._meshed:
            return
        self._meshed = self._integrated
        with self._mapper_lock:
            snapshot = self.mapper.snapshot(complete=False)
        self._snapshot = snapshot
        self._mesh_publisher.publish(
            mesh_marker(
                snapshot.mesh.vertices_mm,
                snapshot.mesh.triangles,
                self.assembler_settings.world_frame,
                conversions.time_message(self.newest_ns),
                BONE_RGBA,
                snapshot.mesh.observed,
            )
        )
        self.mesh_count += 1

    def publish_status(self) -> None:
        """Publish counts, delays and what is missing."""
        state, message = self._state()
        mesh = Mesh.empty() if self._snapshot is None else self._snapshot.mesh
        observed_mm3 = 0.0 if self._snapshot is None else self._snapshot.observed_volume_mm3
        self._status_publisher.publish(
            MappingStatus(
                header=conversions.header_message(
                    self.newest_ns, self.assembler_settings.world_frame
                ),
                state=state,
                message=message,
                frames_labelled=self._labelled,
                observed_volume=observed_mm3 * 1e-9,
                vertices=len(mesh.vertices_mm),
                triangles=len(mesh.triangles),
                surface_source=", ".join(sorted(self._sources)),
                **self.count_fields(),
            )
        )

    def stop(self) -> None:
        """Finish the queue and keep what was mapped."""
        super().stop()
        if self.settings.output_dir and self.mapper.frames:
            self.save(settled=True)

    def _publish_points(self, frame: TrackedFrame, surface: Shown) -> None:
        header = conversions.header_message(frame.stamp_ns, self.assembler_settings.world_frame)
        points_m = surface.points_mm(frame.T_world_transducer) / MM_PER_M
        self._points_publisher.publish(cloud_message(header, points_m.astype(np.float32)))

    def _steps(self, steps: int) -> int:
        """Return how many of the steps that a frame may cost are taken with this one.

        A replay asks for every image and has to give the same map each time: it may take longer.
        """
        if self.source_settings.reliable_images:
            return steps
        return steps_under_backlog(self.worker.backlog - 1, steps)  # the one in work counts there

    def _state(self) -> tuple[int, str]:
        waiting = self.source.waiting_message()
        if self.stalled:
            silent = f"no image for {self.consumer_settings.stall_after_s:g} s"
            return MappingStatus.STATE_STALLED, waiting or silent
        parts = [f"{self.mapper.frames} frames in the map"]
        if self._snapshot is not None:
            prior = self._snapshot.prior
            parts += [self._snapshot.message, "" if prior is None else prior.message]
        about = "; ".join(filter(None, parts))
        if self._paused:
            return MappingStatus.STATE_PAUSED, f"paused, ~/resume goes on: {about}"
        if self.frames_used == 0:
            return MappingStatus.STATE_WAITING, waiting or "the first frame is being integrated"
        return MappingStatus.STATE_MAPPING, about

    def save(self, *, settled: bool) -> str:
        """Write mesh, map and summary to the output folder; return a line about them.

        Args:
            settled: Let a field come to rest before, which takes seconds.
        """
        drops = {str(reason): count for reason, count in self.source.assembler.drops.items()}
        write = save_settled_map_outputs if settled else save_map_outputs
        with self._mapper_lock:
            snapshot = write(self.mapper, Path(self.settings.output_dir), drops)
        return f"{snapshot.frames} frames, {len(snapshot.mesh.triangles)} triangles"

    def _on_save(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if not self.settings.output_dir:
            response.message = "nothing was written: the parameter output_dir is empty"
            return response
        try:
            written = self.save(settled=self._paused)
        except (UsReconError, OSError) as error:
            response.message = f"nothing was written: {error}"
            return response
        response.success = True
        response.message = f"{self.settings.output_dir}: {written}"
        if self.mapper.settings.method == MapMethod.FIELD and not self._paused:
            response.message += "; the field settles when mapping is paused or ends"
        return response

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._mapper_lock:
            self.mapper.reset()
        self._snapshot = None
        self._integrated += 1  # the marker goes with the next refresh
        response.success, response.message = True, "the map is empty"
        return response

    def _on_pause(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._paused = response.success = True
        response.message = "frames are left out until ~/resume"
        return response

    def _on_resume(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._paused, response.success = False, True
        response.message = f"mapping goes on with {self.mapper.frames} frames in the map"
        return response

    def _on_frame(self, frame: TrackedFrame) -> None:
        if self._paused:
            self.source.assembler.drop(
                DropReason.PAUSED,
                f"mapping is paused; the frame of {frame.stamp_ns / NS_PER_S:.3f} s is left out",
            )
            return
        super()._on_frame(frame)

    def _new_mapper(self, settings: MapperSettings) -> OccupancyMapper:
        """Return an empty map, or the one to go on from, which has its own settings."""
        path = self.settings.map_file
        if not path:
            return OccupancyMapper(settings)
        mapper = OccupancyMapper.load(path, prior=settings.prior or None)
        self.get_logger().info(f"goes on from {path}: {mapper.frames} frames, with its settings")
        return mapper


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    use_one_thread()
    return run(OccupancyMapperNode, args)


if __name__ == "__main__":
    raise SystemExit(main())
