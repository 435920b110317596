"""`us-recon calibrate`: the latency of the images, and whether the calibration is plausible."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from us_recon.calibration.checks import COME_BACK, ProbeReport, Verdict, check_probe
from us_recon.calibration.latency import LatencyEstimate, LatencySettings, estimate_latency
from us_recon.calibration.recording import Recording, read_recording
from us_recon.cli.options import add_settings, settings_from
from us_recon.errors import InputError
from us_recon.evaluation.latency_figure import draw_latency
from us_recon.imaging.assembler import AssemblerSettings
from us_recon.imaging.events import AcquisitionEvent
from us_recon.io.bag import BagReader, RejectedMessage, TopicNames
from us_recon.pipeline.threads import use_one_thread

UNKNOWN = BAD = 1
"""Exit status where the recording does not tell the latency, or where a check is bad."""
STYLES = {
    Verdict.GOOD: "green",
    Verdict.UNKNOWN: "",
    Verdict.WARNING: "yellow",
    Verdict.BAD: "red",
}
ADVICE = (
    "move the probe back and forth over the same place for 15 s, at changing speed, with contact; "
    "record poses from a second before until a second after"
)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command and what it calibrates."""
    parser = subparsers.add_parser(
        "calibrate", help="latency of the images, and check of the probe calibration"
    )
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    latency = what.add_parser(
        "time",
        help="constant latency between images and poses, from motion",
        description=f"For a recording: {ADVICE}. Returns 1 where the motion does not tell.",
    )
    latency.add_argument("--picture", type=Path, help="PNG of the signals before and after")
    latency.set_defaults(run=run_time)
    add_settings(latency, LatencySettings, "latency")
    check = what.add_parser(
        "check",
        help="whether the probe calibration is plausible",
        description=f"For a recording: {COME_BACK}. Returns 1 where something is bad.",
    )
    check.set_defaults(run=run_check)
    for command in (latency, check):
        command.add_argument("bag", type=Path, help="folder of the bag, or one storage file")
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        add_settings(command, TopicNames, "topics")
        add_settings(command, AssemblerSettings, "how images find their poses")


def run_time(parsed: argparse.Namespace) -> int:
    """Print the latency; return 1 where it is unknown."""
    use_one_thread()
    settings = settings_from(parsed, AssemblerSettings)
    recording = read_bag(parsed, settings)
    estimate = estimate_latency(recording, settings_from(parsed, LatencySettings))
    if parsed.picture is not None:
        draw_latency(parsed.picture, recording, estimate)
    console = Console()
    if parsed.json:
        console.print_json(json.dumps(latency_as_json(estimate, settings)))
    else:
        _print_latency(console, recording, estimate, settings)
    return 0 if estimate.known else UNKNOWN


def run_check(parsed: argparse.Namespace) -> int:
    """Print what is known of the calibration; return 1 where a check is bad."""
    use_one_thread()
    report = check_probe(read_bag(parsed, settings_from(parsed, AssemblerSettings)))
    console = Console()
    if parsed.json:
        console.print_json(json.dumps(report_as_json(report)))
    else:
        _print_report(console, report)
    return BAD if report.verdict is Verdict.BAD else 0


def read_bag(parsed: argparse.Namespace, settings: AssemblerSettings) -> Recording:
    """Read the bag that the command line names."""
    topics = settings_from(parsed, TopicNames)
    with BagReader(parsed.bag, topics) as bag:
        if not bag.has_images:
            raise InputError(
                f"{parsed.bag} has no topic {topics.image_topic!r} of images; `us-recon inspect` "
                "lists its topics; give --image-topic"
            )
        return read_recording(_events(bag), settings)


def _events(bag: BagReader) -> Iterator[AcquisitionEvent]:
    return (event for event in bag.events() if not isinstance(event, RejectedMessage))


def latency_as_json(estimate: LatencyEstimate, settings: AssemblerSettings) -> dict[str, Any]:
    """Return an estimate as plain values."""
    return {
        "latency_s": _plain(estimate.latency_s),
        "error_s": _plain(estimate.error_s),
        "image_time_offset_s": _plain(settings.image_time_offset_s - estimate.latency_s),
        "methods": {
            each.method: {
                "latency_s": _plain(each.latency_s),
                "error_s": _plain(each.error_s),
                "score": _plain(each.score),
                "gain": each.gain,
                "used": not each.doubt,
                "doubt": each.doubt,
            }
            for each in estimate.evidence
        },
    }


def report_as_json(report: ProbeReport) -> dict[str, Any]:
    """Return a report as plain values."""
    correction = report.correction
    values: dict[str, Any] = {
        "verdict": report.verdict,
        "checks": [asdict(check) for check in report.checks],
        "latency_s": _plain(report.latency.latency_s),
        "correction": None,
    }
    if correction is not None:
        values["correction"] = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in asdict(correction).items()
        }
    return values


def _print_report(console: Console, report: ProbeReport) -> None:
    table = Table("check", "verdict", "found")
    for check in report.checks:
        found = f"{check.found}\n-> {check.advice}" if check.advice else check.found
        verdict = Text(check.verdict, style=STYLES[check.verdict])
        table.add_row(check.name, verdict, Text(found))
    console.print(table)
    summary = {
        Verdict.GOOD: "nothing speaks against this calibration",
        Verdict.UNKNOWN: "nothing speaks against this calibration, but not everything is known",
        Verdict.WARNING: "usable, with the warnings above",
        Verdict.BAD: "do not rely on this recording before what is bad above is put right",
    }
    console.print(summary[report.verdict], style=STYLES[report.verdict], markup=False)


def _plain(value: float) -> float | None:
    return value if isfinite(value) else None


def _print_latency(
    console: Console, recording: Recording, estimate: LatencyEstimate, settings: AssemblerSettings
) -> None:
    def line(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    line(
        f"{len(recording.times_s)} images in {recording.duration_s:.1f} s, "
        f"{len(recording.track.times_s)} poses"
    )
    for each in estimate.evidence:
        found = "-"
        if isfinite(each.latency_s) and isfinite(each.error_s):
            found = f"{1000.0 * each.latency_s:.1f} ms, error {1000.0 * each.error_s:.1f} ms"
        text = f"{each.method:9}  {found}; explains {each.score:.2f}, {each.gain:.2f} over others"
        line(f"{text}; not used: {each.doubt}" if each.doubt else text)
    if not estimate.known:
        line("the latency is unknown", "red")
        line(f"  -> {ADVICE}")
        return
    latency_ms, error_ms = 1000.0 * estimate.latency_s, 1000.0 * estimate.error_s
    side = "after" if latency_ms >= 0.0 else "before"
    line(
        f"images are stamped {abs(latency_ms):.1f} ms {side} the poses they belong to "
        f"(standard error {error_ms:.1f} ms)",
        "green",
    )
    offset_s = settings.image_time_offset_s - estimate.latency_s
    if abs(estimate.latency_s) < 2.0 * estimate.error_s:
        line(f"  within the error: keep image_time_offset_s at {settings.image_time_offset_s:g}")
        return
    line(
        f"  -> set image_time_offset_s: {offset_s:.4f} for both nodes in the parameter file, or "
        f"give --image-time-offset-s={offset_s:.4f} offline"
    )
