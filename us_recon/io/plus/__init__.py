"""Recordings and configurations of the PLUS toolkit (plustoolkit.github.io)."""

from us_recon.io.plus.calibration import ImageCalibration, split_image_to_probe
from us_recon.io.plus.config import PlusConfig, Reconstruction, ScanConversion, read_plus_config
from us_recon.io.plus.recording import PlusRecording, read_plus_recording
from us_recon.io.plus.sequence import PlusFrame, PlusSequence, read_plus_sequence

__all__ = [
    "ImageCalibration",
    "PlusConfig",
    "PlusFrame",
    "PlusRecording",
    "PlusSequence",
    "Reconstruction",
    "ScanConversion",
    "read_plus_config",
    "read_plus_recording",
    "read_plus_sequence",
    "split_image_to_probe",
]
