"""The mapping methods that are compared: tracked frames in, a mesh out, with fixed settings.

All maps have voxels of 1 mm, as the mapper by default. They are given the same frames with the same
labels; what a method makes of frames without a label is its own affair.
"""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.naive_occupancy import naive_occupancy
from us_recon.imaging.frame import TrackedFrame
from us_recon.occupancy.mapper import MapMethod, MapperSettings, OccupancyMapper
from us_recon.occupancy.mesh import Mesh

SPARSE_HALF_THICKNESS_MM = 5.0
"""How far at most a labelled slice speaks to either side. Of 3, 5, 8 and 12 mm it is the best on a
development patient with every 5th frame labelled, and as good as 8 mm with every 20th."""

LOOK_AGAIN_STEPS = 400

MappingMethod = Callable[[Sequence[TrackedFrame]], Mesh]


def labels_only(method: MapMethod) -> MappingMethod:
    """Return a map of the labelled frames alone.

    The others are not even shown to it: the thickness that a slice speaks for then follows the
    distance between labelled frames, which leaves fewer holes where labels are sparse.
    """

    def run(frames: Sequence[TrackedFrame]) -> Mesh:
        labelled = [frame for frame in frames if frame.label is not None]
        settings = MapperSettings(
            method=method, surfaces="label", half_thickness_mm=SPARSE_HALF_THICKNESS_MM
        )
        return mapped(labelled, settings)

    return run


def by_mapper(**settings: Any) -> MappingMethod:
    """Return a map of all frames by the mapper with these settings."""

    def run(frames: Sequence[TrackedFrame]) -> Mesh:
        return mapped(frames, MapperSettings(**settings))

    return run


def with_detector(method: MapMethod, **settings: Any) -> MappingMethod:
    """Return a map of all frames: the label where there is one, else what the detector finds."""
    return by_mapper(method=method, surfaces="auto", **settings)


def looked_at_again(method: MapMethod, **settings: Any) -> MappingMethod:
    """Return the same after `OccupancyMapper.look_again`, with all labels learnt before."""

    def run(frames: Sequence[TrackedFrame]) -> Mesh:
        mapper = OccupancyMapper(MapperSettings(method=method, surfaces="auto", **settings))
        for frame in frames:
            mapper.integrate(frame, steps=0)
        mapper.look_again(LOOK_AGAIN_STEPS)
        return settled_mesh(frames, mapper)

    return run


def mapped(frames: Sequence[TrackedFrame], settings: MapperSettings) -> Mesh:
    """Return the surface after all frames, as the mapper gives it."""
    return settled_mesh(frames, OccupancyMapper(settings))


def settled_mesh(frames: Sequence[TrackedFrame], mapper: OccupancyMapper) -> Mesh:
    """Return the surface that a mapper shows at the end of a scan."""
    for frame in frames:
        mapper.integrate(frame)
    mapper.settle()
    return mapper.snapshot().mesh


METHODS: dict[str, MappingMethod] = {
    "log-odds voxels, labels only": labels_only(MapMethod.LOG_ODDS),
    "log-odds voxels + detector": with_detector(MapMethod.LOG_ODDS),
    "log-odds voxels + learned detector": with_detector(MapMethod.LOG_ODDS, detector="both"),
    "TSDF, labels only": labels_only(MapMethod.TSDF),
    "TSDF + detector": with_detector(MapMethod.TSDF),
    "TSDF + learned detector": with_detector(MapMethod.TSDF, detector="both"),
    "TSDF + adaptive detector": with_detector(MapMethod.TSDF, detector="adaptive"),
    "TSDF + adaptive detector, twice": looked_at_again(MapMethod.TSDF, detector="adaptive"),
    "field + detector": with_detector(MapMethod.FIELD),
    "field + detector, transmitted labels": with_detector(
        MapMethod.FIELD, label_loss="transmitted"
    ),
    "field + learned detector": with_detector(MapMethod.FIELD, detector="both"),
    "field + adaptive detector, twice": looked_at_again(MapMethod.FIELD, detector="adaptive"),
    "naive occupancy": naive_occupancy,
}
"""The mapper with its method and detector; a row of the tables each."""
