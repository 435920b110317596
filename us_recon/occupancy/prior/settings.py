"""Settings of training and of fitting."""

from dataclasses import dataclass

from us_recon.settings import setting


@dataclass(frozen=True)
class TrainingSettings:
    """How a prior is made from earlier subjects."""

    anatomy: str = setting("", "Name of the anatomy, kept in the file")
    modes: int = setting(8, "Ways to differ from the mean to keep at most", minimum=0, maximum=100)
    grid_mm: float = setting(
        2.0, "Spacing of the signed distances", unit="mm", minimum=0.2, maximum=20.0
    )
    reach_mm: float = setting(
        12.0, "Distances beyond this are cut off", unit="mm", minimum=1.0, maximum=100.0
    )
    max_misfit_mm: float = setting(
        6.0,
        "Mean distance to the mean shape beyond which a subject is refused",
        unit="mm",
        minimum=0.1,
        maximum=100.0,
    )

    decoder_steps: int = setting(
        600,
        "Steps for which the detector's network learns the labels that maps keep (some 40 ms each, "
        "and as long again for each subject, to judge what was learnt); 0: it does not",
        minimum=0,
        maximum=100_000,
    )


@dataclass(frozen=True)
class FitSettings:
    """How a prior is fitted to what was seen, and when the fit is believed."""

    patch_mm: float = setting(
        4.0, "Patches of the surface of this size are one observation", unit="mm", minimum=0.5
    )
    noise_mm: float = setting(1.0, "Error of the surface seen", unit="mm", minimum=0.01)
    outlier_mm: float = setting(
        3.0, "Patches further off hardly pull any more", unit="mm", minimum=0.1
    )
    free_weight: float = setting(
        0.5, "Weight of a patch of space seen empty, relative to surface", minimum=0.0
    )
    min_patches: float = setting(40.0, "Patches of surface that a fit needs at least", minimum=1.0)
    min_explained: float = setting(
        0.7, "Share of the surface seen that has to lie on the shape", minimum=0.0, maximum=1.0
    )
    max_violated: float = setting(
        0.02, "Share of the shape that may lie in space seen empty", minimum=0.0, maximum=1.0
    )
    min_lead: float = setting(
        0.15, "How much worse the next best pose has to explain what was seen", minimum=0.0
    )
