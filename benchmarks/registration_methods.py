"""The registration methods that are compared: frames, an MRI and a first guess in, a pose out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from us_recon.geometry.rigid import Matrix4, invert_rigid
from us_recon.imaging.frame import TrackedFrame
from us_recon.imaging.volume import Volume
from us_recon.registration.objective import make_objective
from us_recon.registration.observation import observe
from us_recon.registration.patient_images import PatientImages
from us_recon.registration.registrar import MriRegistration, RegistrationUpdate
from us_recon.registration.settings import RegistrationSettings
from us_recon.registration.solver import turn_about_centre

NELDER_MEAD_EVALUATIONS = 600
LC2_ALONE = RegistrationSettings(channels="mri")
NELDER_MEAD_STEP = 4.0  # mm and degrees: size of the first simplex, of the order of the errors


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a method says.

    Attributes:
        T_world_mri: Pose of the MRI.
        accepted: Whether the method itself trusts it; None where it never doubts.
        update: The registrar's own result, for those who look further; None of other methods.
        attempt_s: Time on the clock once MRI and frames were prepared; NaN where that is not apart.
    """

    T_world_mri: Matrix4
    accepted: bool | None = None
    update: RegistrationUpdate | None = None
    attempt_s: float = float("nan")


Images = Volume | PatientImages
RegistrationMethod = Callable[[Sequence[TrackedFrame], Images, Matrix4], Outcome]


def identity(frames: Sequence[TrackedFrame], images: Images, T_start: Matrix4) -> Outcome:
    """Leave the MRI where it was."""
    del frames, images
    return Outcome(T_start)


def registrar(settings: RegistrationSettings) -> RegistrationMethod:
    """Return the registration of this package."""

    def run(frames: Sequence[TrackedFrame], images: Images, T_start: Matrix4) -> Outcome:
        registration = prepared(frames, images, settings)
        registration.set_initial(T_start)
        begun_s = time.monotonic()
        update = registration.step()
        attempt_s = time.monotonic() - begun_s
        if update is None:  # too few frames: it stays silent
            return Outcome(T_start, accepted=False)
        return Outcome(update.T_world_mri, update.trusted, update, attempt_s)

    return run


def nelder_mead(
    evaluations: int = NELDER_MEAD_EVALUATIONS, step: float = NELDER_MEAD_STEP
) -> RegistrationMethod:
    """Return LC2 climbed without derivatives, as is usual in the field.

    LC2's score on the same frames as `registrar`, over three shifts (mm) and three turns (degrees)
    about the images' centre, from the first guess.
    """

    def run(frames: Sequence[TrackedFrame], images: Images, T_start: Matrix4) -> Outcome:
        registration = prepared(frames, images, LC2_ALONE)
        window = observe(registration.window.frames, registration.settings)
        objective = make_objective(window, registration.channels, registration.settings)
        start = invert_rigid(T_start)
        scale = np.array([1.0, 1.0, 1.0, *np.radians([1.0, 1.0, 1.0])])

        def pose(x: np.ndarray) -> Matrix4:
            return turn_about_centre(objective.centre_world_mm, start, scale * x)

        simplex = np.vstack([np.zeros(6), step * np.eye(6)])
        found = minimize(
            lambda x: -objective.score(pose(x)),
            np.zeros(6),
            method="Nelder-Mead",
            options={
                "initial_simplex": simplex,
                "maxfev": evaluations,
                "xatol": 0.01,
                "fatol": 1e-5,
                "adaptive": True,
            },
        )
        return Outcome(invert_rigid(pose(found.x)))

    return run


def mutual_information(frames: Sequence[TrackedFrame], images: Images, T_start: Matrix4) -> Outcome:
    """Register by SimpleITK's mutual information (see `mutual_information`), to the first MRI."""
    from benchmarks.mutual_information import register

    mri = images.first if isinstance(images, PatientImages) else images
    return Outcome(register(frames, mri, T_start))


def prepared(
    frames: Sequence[TrackedFrame], images: Images, settings: RegistrationSettings
) -> MriRegistration:
    """Return the registrar with all frames taken in."""
    registration = MriRegistration(images, settings)
    for frame in frames:
        registration.add_frame(frame)
    return registration


SEARCH, LOCAL = "search", "local"
SEARCH_LC2, SEARCH_TISSUE = "search, LC2 alone", "search, tissue alone"
REGISTRATION_METHODS: dict[str, RegistrationMethod] = {
    "identity": identity,
    SEARCH: registrar(RegistrationSettings()),
    SEARCH_LC2: registrar(LC2_ALONE),
    SEARCH_TISSUE: registrar(RegistrationSettings(channels="tissue")),
    LOCAL: registrar(RegistrationSettings(start_count=0)),
    "LC2 with Nelder-Mead": nelder_mead(),
    "mutual information": mutual_information,
}
