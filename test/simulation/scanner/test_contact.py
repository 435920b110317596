from dataclasses import replace

import numpy as np
import pytest

from us_recon.imaging.probe import ProbeGeometry
from us_recon.simulation.scanner.beam import Beam, BeamSettings
from us_recon.simulation.scanner.compression import Compression, CompressionSettings
from us_recon.simulation.scanner.contact import ContactSettings, FaceContact
from us_recon.simulation.scanner.imager import Imager
from us_recon.simulation.testbench import (
    BONE,
    CONVEX,
    LINEAR,
    NO_GAIN,
    PHASED,
    QUIET,
    mean_db,
    plate,
    samples,
    several_views,
)

GEL = replace(NO_GAIN, coupling_mm=3.0)
PITCH_MM = 38.4 / 192


def tilted() -> np.ndarray:
    """Return a pose that touches the skin with one end of a linear face, lifted by 10 degrees."""
    angle = np.radians(10.0)
    T = np.eye(4)
    T[:2, :2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    T[1, 3] = -19.2 * np.sin(angle)
    return T


def contact(geometry: ProbeGeometry, T: np.ndarray, depths: int = 60) -> np.ndarray:
    beam = Beam(geometry, BeamSettings(f_number=2.5, aperture_mm=20.0))
    still = Compression(beam, CompressionSettings())
    shape = (geometry.beam_count, depths)
    face = FaceContact(beam, ContactSettings(coupling_mm=3.0), still, shape)
    return face.of_beams(face.of_elements(plate(), T))


def beam_at(x_mm: float) -> int:
    return round(x_mm / PITCH_MM + 95.5)


def test_part_of_the_aperture_in_contact() -> None:
    # The gap grows by sin 10 = 0.1736 per mm and is 3 mm after 17.28 mm: at x = -1.92. At 25 mm
    # the aperture is 25 / 2.5 = 10 mm: 2.5 mm to either side 3/4 and 1/4 of it are in contact.
    found = contact(LINEAR, tilted())
    assert found.shape == (192, 60)
    for x_mm, expected in ((-1.92 - 2.5, 0.75), (-1.92, 0.5), (-1.92 + 2.5, 0.25)):
        assert found[beam_at(x_mm), 24:26].mean() == pytest.approx(expected, abs=0.02)
    # The gel ends between gaps of 2.75 and 3.25 mm, x = -3.36 and -0.48; half the aperture, 5 mm,
    # away from there it is all or nothing.
    assert found[: beam_at(-8.6), 24].min() == 1.0
    assert found[beam_at(4.8) :, 24].max() == 0.0
    # At 55 mm the aperture is 20 mm: 5 mm to the side still 1/4 of it.
    assert found[beam_at(-1.92 + 5.0), 54] == pytest.approx(0.25, abs=0.02)


def test_a_round_face_on_flat_skin_lifts_its_ends() -> None:
    # 40 mm (1 - cos a) = 3 mm at a = 22.3 degrees; the face spans 30 to either side.
    found = contact(CONVEX, np.eye(4))[:, 0]
    angles_deg = np.degrees(CONVEX.beam_angles_rad)
    assert found[np.abs(angles_deg) < 20.0].min() == 1.0
    assert found[np.abs(angles_deg) > 25.0].max() == 0.0


def test_a_phased_array_loses_the_same_on_all_beams() -> None:
    # Its face of 20 mm, tilted by 20 degrees about its end: 3 mm after 8.77 mm: 44 % in contact.
    angle = np.radians(20.0)
    T = np.eye(4)
    T[:2, :2] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    T[1, 3] = -10.0 * np.sin(angle)
    found = contact(PHASED, T)
    np.testing.assert_allclose(found, 0.4386, atol=0.01)


def test_gel_couples_as_far_as_it_reaches() -> None:
    # The end of the gel is 0.5 mm wide: 2.7 mm couple, 3.3 mm do not, 3 mm half.
    for gap_mm, expected in ((2.7, 1.0), (3.0, 0.5), (3.3, 0.0), (50.0, 0.0)):
        T = np.eye(4)
        T[1, 3] = -gap_mm
        np.testing.assert_allclose(contact(LINEAR, T), expected, atol=0.01)


def test_echoes_fall_with_the_square_of_the_contact() -> None:
    # Half an aperture sends half the pressure and hears half of it: 20 log10(1/4) = -12.0 dB; a
    # quarter -24.1 dB, three quarters -5.0 dB.
    scene = plate(2.0, attenuation_db_cm_mhz=0.0)
    beam = BeamSettings(f_number=2.5, aperture_mm=20.0)
    whole, partly = [], []
    for number in range(24):
        T = tilted()
        T[2, 3] = 2.5 * number - 30.0
        for settings, views in ((NO_GAIN, whole), (GEL, partly)):
            views.append(np.abs(Imager(scene, LINEAR, settings, beam).echo_signal(T)))
    depth = samples(23.0, 27.0)
    for x_mm, expected in ((-1.92 - 2.5, -5.0), (-1.92, -12.04), (-1.92 + 1.5, -18.2)):
        near = slice(beam_at(x_mm) - 2, beam_at(x_mm) + 3)
        lost = mean_db(np.stack(partly)[:, near, depth]) - mean_db(np.stack(whole)[:, near, depth])
        assert lost == pytest.approx(expected, abs=1.0)
    lifted = np.stack(partly)[:, beam_at(9.0) :, samples(20.0, 30.0)]
    assert lifted.max() < 1e-4


def test_a_probe_in_air_shows_its_lens_then_noise() -> None:
    # A lens of 1 mm at 1 mm/us is taken for 1.54 mm of tissue: lines at 1.54, 3.08, 4.62 mm, each
    # 10 dB below the one before. Below them there is noise alone.
    settings = replace(
        GEL, lens_mm=1.0, lens_echo_db=40.0, lens_loss_db=10.0, noise_db=-50.0, clutter_db=0.0
    )
    T = np.eye(4)
    T[1, 3] = -40.0
    level = Imager(plate(2.0), LINEAR, settings).beams_db(T)
    for number, expected_db in ((1, 40.0), (2, 30.0), (3, 20.0)):
        near = samples(1.54 * number - 0.6, 1.54 * number + 0.6)
        peak = level[:, near].max(axis=1)
        # Lines between two samples lose up to 1.1 dB.
        assert expected_db - 1.2 < np.median(peak) < expected_db + 0.2
        place = (near.start + np.argmax(level[96, near])) * LINEAR.sample_step_mm
        assert place == pytest.approx(1.54 * number, abs=0.07)
    between = level[:, samples(2.2, 2.4)]
    assert between.max() < 20.0
    deep = 10.0 ** (level[:, samples(25.0, 60.0)] / 20.0)
    assert mean_db(deep) == pytest.approx(-50.0, abs=0.2)


def test_contact_is_the_default_and_wide_gel_turns_it_off() -> None:
    # Flat skin 10 mm below a probe: nothing with 3 mm of gel, tissue with a water bath.
    T = np.eye(4)
    T[1, 3] = -10.0
    scene = plate(2.0)
    dry = Imager(scene, LINEAR, replace(QUIET, coupling_mm=3.0)).beams_db(T)
    bath = Imager(scene, LINEAR, replace(QUIET, coupling_mm=20.0)).beams_db(T)
    deep = samples(30.0, 50.0)
    assert dry[:, deep].max() < -60.0 < -30.0 < np.median(bath[:, deep])


def test_no_bone_is_labelled_without_contact() -> None:
    imager = Imager(plate(plate=BONE), LINEAR, GEL)
    label = imager.label(tilted()).any(axis=0)
    x_mm = (np.arange(label.size) - LINEAR.origin_x_px) * LINEAR.spacing_x_mm
    # The plate lies 27 to 32 mm deep there, where apertures are some 11 mm wide. Loss of 20 dB,
    # 0.1 there and back, is a contact of 0.316: 0.184 * 11 = 2.0 mm beyond the end of the gel.
    assert label[x_mm < -3.0].all()
    assert x_mm[label].max() == pytest.approx(-1.92 + 2.0, abs=0.6)


def test_several_views_need_no_gel() -> None:
    # Pressed in by 2 mm, all of a flat face is in contact: the setting changes nothing.
    scene = plate(2.0)
    views = [several_views(Imager(scene, LINEAR, s), 1) for s in (NO_GAIN, GEL)]
    np.testing.assert_array_equal(views[0], views[1])
