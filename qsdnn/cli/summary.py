"""The summary that a search prints at its end, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table

from qsdnn.cli.console import stdout_console


def print_summary(content: dict[str, Any]) -> None:
    """Prints the document of a search as a table and a few lines.

    Args:
        content: The document of the search: see `qsdnn.tuning.report.document`.
    """
    console = stdout_console()
    console.print(_latencies(content))
    model, measurements = content["cost_model"], content["measurements"]
    for line in _verdict(content):
        console.print(line, highlight=False)
    if model["held_out_plans"]:
        console.print(
            f"cost model: {model['error_mean']:.1%} mean error, {model['error_max']:.1%} largest, "
            f"on {model['held_out_plans']} held-out plans, {model['coverage95']:.0%} of them in "
            f"their 95 % interval{_gap(content)}"
        )
    elif _gap(content):
        console.print(f"cost model: not tested on random plans{_gap(content)}")
    console.print(
        f"{_accuracy(content)}; trust: {content['trust']}; "
        f"{measurements['taken']} measurements taken, "
        f"{measurements['cached']} known, {measurements['failed']} failed; "
        f"{_memory(content)}{content['wall_s']:.0f} s"
    )
    console.print(_spent(content), highlight=False)
    if content["doubt"]:
        console.print(f"[bold yellow]{content['doubt']}[/]", highlight=False)
    if "front" in content:
        console.print(_front(content["front"]))
        console.print(f"front: {', '.join(content['front']['files'])}")
    following = f"   next: qsdnn package {content['plan']} -o DIR"
    console.print(f"plan: {content['plan']}{following if Path(content['plan']).is_file() else ''}")


def _gap(content: dict[str, Any]) -> str:
    """The gap between what was learned and the best that the cost model knows, as text."""
    if content["gap_to_optimum"] is None:
        return ""
    optimum = "its proven optimum" if content["optimum_proven"] else "a bound on its optimum"
    return f"; gap to {optimum} {content['gap_to_optimum']:.2%}"


def _verdict(content: dict[str, Any]) -> list[str]:
    """The lines that say in words what was found."""
    lines = []
    if content["objective"]["name"] != "latency":
        lines.append(_objective(content))
    elif content["speedup_vs_best_uniform"] < 1:
        lines.append(
            f"{content['speedup_vs_best_uniform']:.3f}× as fast as "
            f"{content['best_uniform']['name']}, which does not keep the limits"
        )
    elif content["mixed"]:
        lines.append(_gain(content))
    else:
        lines.append(_no_gain(content))
    single, onnxruntime = content["best_single"], content["onnxruntime"]
    if onnxruntime and (not content["mixed"] or single["name"] != onnxruntime["name"]):
        lines.append(f"{_times(onnxruntime)} onnxruntime as it comes {_interval(onnxruntime)}")
    return lines


def _gain(content: dict[str, Any]) -> str:
    """The sentence on how much faster a mixed plan is than the fastest single engine."""
    single = content["best_single"]
    if single["speedup_range"][0] > 1:
        return (
            f"[bold green]{single['speedup']:.3f}× faster[/] than {single['name']}, the fastest "
            f"single engine {_interval(single)}"
        )
    low, high = content["speedup_ci95"]
    return (
        f"[bold green]{content['speedup_vs_best_uniform']:.3f}× faster[/] than "
        f"{content['best_uniform']['name']}, the fastest uniform plan "
        f"(95 %: {low:.3f}–{high:.3f}); {_times(single)} {single['name']} {_interval(single)}"
    )


def _no_gain(content: dict[str, Any]) -> str:
    """The sentence on why the plan is uniform, and how it compares with the engine as it comes."""
    name, count = content["best_uniform"]["name"], content["measurements"]["mixed_plans"]
    why = content["advice"]
    if not why:
        plans = "the mixed plan" if count == 1 else f"none of {count} mixed plans"
        why = f"{plans} was not faster" if count == 1 else f"{plans} was faster"
        why += " with 95 % confidence"
    said = f"{why[0].upper()}{why[1:]}. The plan is {_parts(name, content['primitives'])}"
    single = content["best_single"]
    if single and single["kind"] == "bare" and single["speedup_range"][1] < 1:
        said += f"; it takes {1 / single['speedup']:.3f}× as long as {single['name']}"
    return said


def _parts(name: str, primitives: dict[str, int]) -> str:
    """The name of a uniform plan, and the layers of it that run otherwise."""
    others = {primitive: count for primitive, count in primitives.items() if primitive != name}
    if not others:
        return f"{name} alone"
    listed = ", ".join(f"{count} in {primitive}" for primitive, count in others.items())
    return f"{name} ({primitives.get(name, 0)} layers; {listed})"


def _times(entrant: dict[str, Any]) -> str:
    return f"{entrant['speedup']:.3f}×"


def _interval(entrant: dict[str, Any]) -> str:
    low, high = entrant["speedup_range"]
    if entrant["sittings"] <= 1:
        return "(in one process)" if entrant["sittings"] else "(never in the same process)"
    what = "95 %" if entrant["is_ci95"] else f"in {entrant['sittings']} processes"
    return f"({what}: {low:.3f}–{high:.3f})"


def _objective(content: dict[str, Any]) -> str:
    """The objective of the plan, and that of the best uniform plan beside it."""
    name, plan = content["objective"]["name"], content["objective"]["plan"]
    key, unit = {"memory": ("memory_mb", "MB"), "energy": ("energy_mj", "mJ")}[name]
    uniform = content["objective"]["uniform"][key]
    beside = "" if uniform is None else f"; {content['best_uniform']['name']} takes {uniform:.4g}"
    return f"[bold green]least {name}: {plan[key]:.4g} {unit}[/]{beside}"


def _memory(content: dict[str, Any]) -> str:
    peak_mb = content["peak_memory_mb"]
    return f"{peak_mb:.0f} MB of memory at the most; " if peak_mb else ""


def _spent(content: dict[str, Any]) -> str:
    """The parts of the time, longest first, down to the second."""
    parts = sorted(content["spent_s"].items(), key=lambda part: -part[1])
    told = [f"{name} {seconds:.0f} s" for name, seconds in parts if seconds >= 0.5]
    return f"of these seconds: {', '.join(told)}"


def _front(content: dict[str, Any]) -> Table:
    table = Table(title="latency, accuracy and memory: no plan beats another in all")
    for title in ("ms", "speed-up", "SQNR dB", content["metric"], "MB", "plan"):
        table.add_column(title, justify="left" if title == "plan" else "right")
    for point in content["points"]:
        table.add_row(
            f"{point['latency_ms']:.3f}",
            f"{point['speedup']:.2f}",
            f"{point['sqnr_db']:.1f}",
            f"{point['score']:.4g}",
            "–" if point["memory_mb"] is None else f"{point['memory_mb']:.0f}",
            point["plan"],
        )
    return table


def _accuracy(content: dict[str, Any]) -> str:
    accuracy = content["accuracy"]
    if "samples" not in accuracy:
        return (
            f"outputs {'equal' if content['verified'] else 'DIFFER FROM'} onnxruntime's "
            f"(largest relative error {accuracy['plan']:.1e})"
        )
    return (
        f"{accuracy['metric']} {accuracy['plan']:.4g}, in fp32 {accuracy['reference']:.4g}; SQNR "
        f"{accuracy['sqnr_db']:.1f} dB; on {accuracy['samples']} samples kept apart "
        f"({accuracy['budget']})"
    )


def _latencies(content: dict[str, Any]) -> Table:
    """The table of everything in the final, from runs interleaved in the same processes."""
    table = Table(title=f"{content['model']['path']} on {content['board']['name']}")
    table.add_column("")
    table.add_column("fastest first")
    for title in ("ms", "95 %", "×"):
        table.add_column(title, justify="right")
    for row in content["final"]:
        low, high = row["ci95_ms"]
        table.add_row(
            ">" if row["winner"] else "",
            _title(row),
            f"{row['measured_ms']:.3f}",
            f"{low:.3f}–{high:.3f}",
            f"{row['ratio']:.3f}",
            style="bold green" if row["winner"] else None,
        )
    return table


def _title(row: dict[str, Any]) -> str:
    if row["kind"] != "mixed":
        return str(row["name"])
    return "the plan found" if row["winner"] else "another mixed plan"
