"""`us-recon inspect`: what is in a bag, and what would keep the nodes from using it."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from us_recon.cli.options import add_settings, settings_from
from us_recon.imaging.assembler import AssemblerSettings
from us_recon.imaging.probe import ProbeGeometry, ProbeKind
from us_recon.io.bag import TopicNames
from us_recon.io.bag.findings import Finding, Severity, findings
from us_recon.io.bag.inspection import BagReport, Timing, inspect_bag

NOT_USABLE = 1
"""Exit status where no image could be used."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "inspect", help="what is in a bag, and what would keep the nodes from using it"
    )
    parser.add_argument("bag", type=Path, help="folder of the bag, or one storage file")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    add_settings(parser, TopicNames, "topics")
    add_settings(parser, AssemblerSettings, "how images find their poses")
    parser.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Print the report; return 1 where no image can be used."""
    topics = settings_from(parsed, TopicNames)
    report = inspect_bag(parsed.bag, settings_from(parsed, AssemblerSettings), topics)
    found = findings(report, topics)
    console = Console()
    if parsed.json:
        console.print_json(json.dumps(as_json(report, found)))
    else:
        _print_topics(console, report)
        _print_images(console, report)
        _print_frames(console, report)
        _print_findings(console, report, found)
    return NOT_USABLE if any(f.severity is Severity.BLOCKER for f in found) else 0


def as_json(report: BagReport, found: list[Finding]) -> dict[str, Any]:
    """Return the report as plain values."""
    assembler = report.assembler
    return {
        "bag": str(report.path),
        "start_s": report.start_s,
        "duration_s": report.duration_s,
        "topics": [asdict(topic) for topic in report.topics],
        "images": {
            "timing": asdict(report.images) if report.images else None,
            "sizes": report.image_sizes,
            "repeated": report.repeated_images,
            "black": report.black_images,
            "labels": report.labels,
        },
        "transforms": [asdict(transform) for transform in report.transforms],
        "geometries": [asdict(geometry) for geometry in report.geometries],
        "frames": {
            "images": assembler.images_received,
            "usable": assembler.frames_assembled,
            "drops": {reason.value: count for reason, count in assembler.drops.items()},
        },
        "findings": [asdict(finding) for finding in found],
    }


def describe_geometry(geometry: ProbeGeometry) -> str:
    """Return a geometry in one line for a person."""
    if geometry.kind is ProbeKind.LINEAR:
        shape = f"{geometry.width_mm:.1f} mm wide"
    else:
        angles = f"{geometry.angle_min_deg:.1f} to {geometry.angle_max_deg:.1f} deg"
        shape = f"radius {geometry.radius_mm:.1f} mm, {angles}"
    return (
        f"{geometry.kind}, {shape}, {geometry.depth_mm:.1f} mm deep; "
        f"{geometry.width_px} x {geometry.height_px} px of "
        f"{geometry.spacing_x_mm:.4f} x {geometry.spacing_y_mm:.4f} mm, {geometry.orientation}"
    )


def _print_topics(console: Console, report: BagReport) -> None:
    console.print(
        f"{report.path}: {report.duration_s:.2f} s from {report.start_s:.3f} s",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("topic", "type", "messages", "rate")
    for topic in report.topics:
        rate = f"{topic.log_rate_hz:.1f} Hz" if topic.log_rate_hz else "-"
        table.add_row(topic.name, topic.type, str(topic.count), rate)
    console.print(table)


def _print_images(console: Console, report: BagReport) -> None:
    if report.images is not None:
        sizes = ", ".join(f"{count} of {size}" for size, count in report.image_sizes.items())
        console.print(f"images    {sizes} px, {_pace(report.images)}", highlight=False)
    if report.labels:
        console.print(f"labels    {report.labels}", highlight=False)
    for geometry in report.geometries:
        console.print(f"geometry  {describe_geometry(geometry)}", highlight=False, soft_wrap=True)


def _print_frames(console: Console, report: BagReport) -> None:
    for transform in report.transforms:
        pace = "static" if transform.static else _pace(transform.timing)
        edge = f"{transform.parent} -> {transform.child}"
        console.print(f"frame     {edge}: {pace}", highlight=False)


def _print_findings(console: Console, report: BagReport, found: list[Finding]) -> None:
    assembler = report.assembler
    console.print(
        f"usable    {assembler.frames_assembled} of {assembler.images_received} images get a pose",
        highlight=False,
        style="green" if assembler.frames_assembled else "red",
    )
    for finding in found:
        style = "red" if finding.severity is Severity.BLOCKER else "yellow"
        problem = f"{finding.severity}: {finding.problem}"
        console.print(problem, style=style, markup=False, soft_wrap=True)
        console.print(f"  -> {finding.advice}", markup=False, highlight=False, soft_wrap=True)
    if not found:
        console.print("nothing stands in the way of using this bag", style="green")


def _pace(timing: Timing) -> str:
    text = f"{timing.count} at {timing.rate_hz:.1f} Hz" if timing.rate_hz else f"{timing.count}"
    if timing.gaps:
        text += f", longest pause {timing.gaps[0].length_s:.3f} s"
    if timing.backwards:
        text += f", {timing.backwards} not newer than the one before"
    return text
