"""How the learned bone detector is trained: on beams of images whose true surface is known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from us_recon.imaging.probe import ProbeGeometry
from us_recon.occupancy.bone_network import BEAMS, STEP_MM, drawn, inputs_of, log_shares
from us_recon.occupancy.brightness import Beams, calibrate, coarse_beams, coarse_geometry
from us_recon.occupancy.labels import label_surface

EPOCHS, BATCH, LEARNING_RATE = 6, 4, 4e-3
BLUR_MM = 0.3  # of the true depth: labels are no finer than pixels
_ASIDE, _DEEPER_MM, _TILT_MM = 0.15, 5.0, 5.0  # at most; of the beams; over all beams
SHOWN = (1.0, 1.0, 0.8, 0.65)  # of the image: its lower part may be cut off
Depths = Float32[np.ndarray, " beams"]


@dataclass(frozen=True, eq=False)
class TrainingImage:
    """Beams of one image and where bone begins on each.

    Attributes:
        grey: Grey levels, `STEP_MM` apart.
        depth_mm: Depth of the surface, NaN where the beam shows none.
        geometry: With the same beams and samples.
    """

    grey: UInt8[np.ndarray, "beams samples"]
    depth_mm: Depths
    geometry: ProbeGeometry


def training_image(
    image: UInt8[np.ndarray, "rows columns"],
    label: UInt8[np.ndarray, "rows columns"],
    geometry: ProbeGeometry,
) -> TrainingImage:
    """Return the beams of an image and the surface of its label."""
    coarse = coarse_geometry(geometry, BEAMS, STEP_MM)
    fine = replace(coarse, sample_count=4 * coarse.sample_count)
    grey = np.rint(coarse_beams(image, geometry, coarse)).astype(np.uint8)
    return TrainingImage(grey, label_surface(label, fine).depth_mm, coarse)


def train(
    images: Sequence[TrainingImage], epochs: int = EPOCHS, seed: int = 0
) -> dict[str, Tensor]:
    """Fit the network by cross-entropy over each beam's outcomes; the same seed, the same weights.

    Args:
        images: Images with their true surfaces.
        epochs: How often each image is shown, spoilt in another way each time.
        seed: Of the first weights, of the order and of what spoils the images.
    """
    draw = np.random.default_rng(seed)
    weights = {name: weight.requires_grad_() for name, weight in drawn(seed).items()}
    optimiser = torch.optim.AdamW(list(weights.values()), LEARNING_RATE, weight_decay=1e-3)
    steps = epochs * len(_batches(images, np.random.default_rng(0)))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, max(steps, 1))
    for _ in range(epochs):
        for batch in _batches(images, draw):
            shown = float(draw.choice(SHOWN))
            examples = [example(spoilt(cut_off(image, shown), draw), draw) for image in batch]
            inputs, target = (
                torch.from_numpy(np.stack(part)) for part in zip(*examples, strict=True)
            )
            inputs = inputs.to(memory_format=torch.channels_last)
            loss = -(target * log_shares(weights, inputs)).sum(dim=2).mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
            optimiser.step()
            schedule.step()
    return {name: weight.detach() for name, weight in weights.items()}


def outcomes(image: TrainingImage) -> Float32[np.ndarray, "beams outcomes"]:
    """Return the wanted share of each beam's outcomes: surface at each sample; last, none."""
    off_mm = image.geometry.sample_depths_mm - image.depth_mm[:, None]
    shares = np.exp(-0.5 * (np.nan_to_num(off_mm, nan=np.inf) / BLUR_MM) ** 2)
    total = shares.sum(axis=1, keepdims=True)
    shown = total > 0.5
    shares = np.where(shown, shares / np.where(shown, total, 1.0), 0.0)
    return np.hstack([shares, ~shown]).astype(np.float32)


def cut_off(image: TrainingImage, share: float) -> TrainingImage:
    """Return the upper part of an image."""
    samples = round(share * image.geometry.sample_count)
    depth_mm = float(image.geometry.sample_depths_mm[samples - 1])
    geometry = replace(image.geometry, sample_count=samples, depth_mm=depth_mm)
    deep = np.nan_to_num(image.depth_mm, nan=np.inf) > depth_mm
    shown = np.where(deep, np.nan, image.depth_mm).astype(np.float32)
    return TrainingImage(image.grey[:, :samples], shown, geometry)


def spoilt(image: TrainingImage, draw: np.random.Generator) -> TrainingImage:
    """Return the image as other scanners and other tissue may show it.

    A virtual patient has fewer things that look like bone, and cleaner shadows, than a real one:
    bright sheets without shadow are laid into the tissue, haze into the shadow, and tissue fades.
    """
    grey = image.grey.astype(np.float32)
    depths = image.geometry.sample_depths_mm.astype(np.float32)
    bone_mm = np.nan_to_num(image.depth_mm, nan=np.inf)[:, None]
    texture = _texture(grey.shape, draw)
    for _ in range(int(draw.integers(0, 4))):
        grey += _sheet(depths, len(grey), draw) * (depths < bone_mm - 1.0)
    if draw.random() < 0.5:
        behind = np.clip((depths - bone_mm - 1.0) / 3.0, 0, 1)
        fading = np.exp(-np.maximum(depths - bone_mm, 0) / draw.uniform(5, 40))
        grey += draw.uniform(0, 70) * behind * fading * texture
    if draw.random() < 0.4:
        start, rate = draw.uniform(5, 40), draw.uniform(0, 0.04)
        grey *= np.exp(-rate * np.maximum(depths - start, 0))
    if draw.random() < 0.5:
        grey += draw.uniform(0, 25) * cv2.resize(
            draw.normal(size=(1, 5)).astype(np.float32),
            (len(depths), 1),
            interpolation=cv2.INTER_CUBIC,
        )
    if draw.random() < 0.5:
        across, along = draw.uniform(0.01, 1.5), draw.uniform(0.01, 0.9)
        grey = np.asarray(cv2.GaussianBlur(grey, (0, 0), sigmaX=along, sigmaY=across), np.float32)
    curve, gain, noise = draw.uniform(0.65, 1.5), draw.uniform(0.7, 1.3), draw.uniform(0, 4)
    curved = 255 * np.clip(grey / 255, 0, 1) ** curve * gain
    curved += draw.normal(scale=noise, size=grey.shape)
    flat = replace(image, grey=np.clip(curved, 0, 255).astype(np.uint8))
    return mirrored(flat) if draw.random() < 0.5 else flat


def mirrored(image: TrainingImage) -> TrainingImage:
    """Return the image with its beams in reverse order."""
    return replace(image, grey=image.grey[::-1].copy(), depth_mm=image.depth_mm[::-1].copy())


def moved(image: TrainingImage, draw: np.random.Generator) -> TrainingImage:
    """Return the image as if the probe had been held elsewhere: aside, nearer, tilted.

    A few labels show bone at a few places of the image alone, and where bone may lie must not be
    learnt from them. What comes in at a border is a reflection of what is there.
    """
    beams, samples = image.grey.shape
    aside = draw.uniform(-_ASIDE, _ASIDE) * beams
    deeper_mm = draw.uniform(-_DEEPER_MM, _DEEPER_MM)
    tilt_mm = draw.uniform(-_TILT_MM, _TILT_MM) * np.linspace(-0.5, 0.5, beams)
    lower = (deeper_mm + tilt_mm) / image.geometry.sample_step_mm
    slope = (lower[-1] - lower[0]) / (beams - 1)
    # Where each sample comes from: affine in sample (first) and beam.
    source = np.array([[1.0, -slope, -lower[0]], [0.0, 1.0, aside]])
    grey = cv2.warpAffine(
        image.grey,
        source,
        (samples, beams),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    beam = np.abs(np.arange(beams) + aside)
    beam = np.rint(np.minimum(beam, 2 * (beams - 1) - beam)).astype(np.int64)
    depth_mm = image.depth_mm[beam] + deeper_mm + tilt_mm
    inside = (depth_mm >= 0) & (depth_mm <= image.geometry.depth_mm)
    shown = np.where(inside, depth_mm, np.nan).astype(np.float32)
    return replace(image, grey=np.asarray(grey, np.uint8), depth_mm=shown)


def example(
    image: TrainingImage, draw: np.random.Generator
) -> tuple[Float32[np.ndarray, "3 beams samples"], Float32[np.ndarray, "beams outcomes"]]:
    """Return what the network is shown of an image, and what it should answer."""
    grey = image.grey.astype(np.float32)
    calibration = calibrate(grey, image.geometry.sample_step_mm, None)
    # That of a recording differs from that of each of its images.
    calibration = replace(calibration, tissue=calibration.tissue * float(draw.uniform(0.8, 1.25)))
    return inputs_of(grey, calibration, image.geometry), outcomes(image)


def _batches(
    images: Sequence[TrainingImage], draw: np.random.Generator
) -> list[list[TrainingImage]]:
    """Return all images in random order, together with those of the same size."""
    sizes: dict[int, list[TrainingImage]] = {}
    for number in draw.permutation(len(images)):
        sizes.setdefault(images[number].grey.shape[1], []).append(images[number])
    batches = [
        alike[first : first + BATCH]
        for alike in sizes.values()
        for first in range(0, len(alike), BATCH)
    ]
    return [batches[number] for number in draw.permutation(len(batches))]


def _texture(shape: tuple[int, int], draw: np.random.Generator) -> Beams:
    """Return something like speckle, 1 on average."""
    noise = cv2.GaussianBlur(
        draw.normal(size=(*shape, 2)).astype(np.float32), (0, 0), 1.0, sigmaY=1.5
    )
    amplitude = np.linalg.norm(noise, axis=2)
    return np.asarray(amplitude / amplitude.mean(), np.float32)


def _sheet(depths: np.ndarray, beams: int, draw: np.random.Generator) -> Beams:
    """Return a bright, patchy line across the beams, as a fascia gives it."""
    across = np.linspace(-1, 1, beams)[:, None]
    middle, slope, bend = draw.uniform(2, 45), draw.uniform(-8, 8), draw.uniform(-6, 6)
    course_mm = middle + slope * across + bend * across**2 + np.sin(draw.uniform(1, 6) * across)
    profile = np.exp(-0.5 * ((depths - course_mm) / draw.uniform(0.25, 0.8)) ** 2)
    patches = cv2.resize(
        draw.uniform(-0.5, 1.2, (12, 1)).astype(np.float32),
        (1, beams),
        interpolation=cv2.INTER_CUBIC,
    )
    return np.asarray(draw.uniform(40, 170) * profile * np.clip(patches, 0, 1), np.float32)
