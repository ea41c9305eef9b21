"""`edgespec doctor`: what edgespec found on this machine, and what could be better."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from edgespec.cli.context import Settings
from edgespec.cli.output import print_json
from edgespec.errors import ExitCode
from edgespec.text import human_bytes, plain_text

if TYPE_CHECKING:
    from edgespec.cli.machine import Finding, MachineReport


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
@click.pass_obj
def command(settings: Settings, as_json: bool) -> int:
    """Show what edgespec found on this machine: versions, CPU, devices, folders, models, and what to mend.

    Ends with 1 when something that edgespec cannot work without is missing.
    """
    from edgespec.cli.machine import SCHEMA, examine_machine

    report = examine_machine(offline=settings.offline)
    if as_json:
        print_json({"schema": SCHEMA, **asdict(report)})
    else:
        print(plain_text(render(report)))
    is_broken = any(finding.severity == "error" for finding in report.findings)
    return ExitCode.FAILED if is_broken else ExitCode.OK


def render(report: "MachineReport") -> str:
    """The report as text for a person."""
    return "\n\n".join(
        section
        for section in (
            _versions(report),
            _machine(report),
            _devices(report),
            _folders(report),
            _models(report),
            _leftovers(report),
            _findings(report.findings),
        )
        if section
    )


def _section(title: str, rows: list[tuple[str, str]]) -> str:
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join([title, *(f"  {name:<{width}}  {text}".rstrip() for name, text in rows)])


def _versions(report: "MachineReport") -> str:
    versions = report.versions
    engine = f"{versions.llama_cpp_python or 'missing'}"
    if versions.llama_cpp:
        engine += f" (llama.cpp {versions.llama_cpp})"
    rows = [("edgespec", versions.edgespec), ("Python", versions.python), ("llama-cpp-python", engine)]
    return _section("Versions", rows)


def _machine(report: "MachineReport") -> str:
    machine, engine = report.machine, report.engine
    cores = f"{machine.physical_cores} physical, {machine.logical_cores} logical"
    memory = (
        f"{human_bytes(machine.memory_available_bytes)} free of {human_bytes(machine.memory_total_bytes)}"
    )
    rows = [("System", machine.system), ("CPU", machine.cpu), ("Cores", cores), ("Memory", memory)]
    if engine is not None:
        rows.append(("Threads", f"{engine.default_threads} by default"))
        rows.append(("Features", ", ".join(engine.features)))
        rows.append(("Kernels", f"edgespec's, {engine.kernels}" if engine.kernels else "ggml's"))
    return _section("Machine", rows)


def _devices(report: "MachineReport") -> str:
    if report.engine is None:
        return ""
    rows = [
        (
            device.name,
            f"{device.kind}, {device.description}"
            + (f", {human_bytes(device.memory_free_bytes)} free" if device.memory_total_bytes else ""),
        )
        for device in report.engine.devices
    ]
    return _section("Devices of this build of llama.cpp", rows)


def _folders(report: "MachineReport") -> str:
    rows = [
        (folder.name, f"{folder.path} ({human_bytes(folder.free_bytes)} free)") for folder in report.folders
    ]
    return _section("Folders", rows)


def _models(report: "MachineReport") -> str:
    rows = [(model.name, f"{human_bytes(model.size_bytes)}  {model.path}") for model in report.models]
    return _section("Models on disk", rows or [("none", "`edgespec models` lists what can be fetched")])


def _leftovers(report: "MachineReport") -> str:
    rows = [(human_bytes(left.size_bytes), str(left.path)) for left in report.leftovers]
    title = "Left by work that was killed; the next command that writes a file removes it"
    return _section(title, rows) if rows else ""


def _findings(findings: tuple["Finding", ...]) -> str:
    if not findings:
        return "Nothing to mend."
    return "\n".join(f"{finding.severity}: {finding.message} {finding.hint}".rstrip() for finding in findings)
