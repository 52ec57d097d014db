"""What a search prints at its end, for people."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from qsdnn.cli.console import stdout_console


def print_summary(content: dict[str, Any]) -> None:
    """Prints the document of a search as a table and a few lines.

    Args:
        content: See `qsdnn.search.report.document`.
    """
    console = stdout_console()
    console.print(_latencies(content))
    model, measurements = content["cost_model"], content["measurements"]
    low, high = content["speedup_ci95"]
    if content["objective"]["name"] != "latency":
        console.print(_objective(content))
    elif content["speedup_vs_best_uniform"] > 1:
        console.print(
            f"[bold green]{content['speedup_vs_best_uniform']:.3f}× faster[/] than "
            f"{content['best_uniform']['name']}, the best single engine "
            f"(95 %: {low:.3f}–{high:.3f}, interleaved runs)"
        )
    elif content["speedup_vs_best_uniform"] < 1:
        console.print(
            f"{content['speedup_vs_best_uniform']:.3f}× as fast as "
            f"{content['best_uniform']['name']}, which does not keep the limits"
        )
    else:
        console.print(
            f"No mixed plan beat {content['best_uniform']['name']} with confidence: "
            "the plan is that engine alone."
        )
    if model["held_out_plans"]:
        optimum = "its proven optimum" if content["optimum_proven"] else "a bound on its optimum"
        console.print(
            f"cost model: {model['error_mean']:.1%} mean error, {model['error_max']:.1%} largest, "
            f"on {model['held_out_plans']} held-out plans, {model['coverage95']:.0%} of them in "
            f"their 95 % interval; gap to {optimum} "
            f"{content['gap_to_optimum']:.2%}"
        )
    console.print(
        f"{_accuracy(content)}; trust: {content['trust']}; "
        f"{measurements['taken']} measurements taken, "
        f"{measurements['cached']} known, {measurements['failed']} failed; "
        f"{_memory(content)}{content['wall_s']:.0f} s"
    )
    if content["doubt"]:
        console.print(f"[bold yellow]{content['doubt']}[/]", highlight=False)
    if "front" in content:
        console.print(_front(content["front"]))
        console.print(f"front: {', '.join(content['front']['files'])}")
    console.print(f"plan: {content['plan']}   next: qsdnn package {content['plan']} -o DIR")


def _objective(content: dict[str, Any]) -> str:
    """What was asked for, of the plan and of the uniform plan that has least of it."""
    name, plan = content["objective"]["name"], content["objective"]["plan"]
    key, unit = {"memory": ("memory_mb", "MB"), "energy": ("energy_mj", "mJ")}[name]
    uniform = content["objective"]["uniform"][key]
    beside = "" if uniform is None else f"; {content['best_uniform']['name']} takes {uniform:.4g}"
    return f"[bold green]least {name}: {plan[key]:.4g} {unit}[/]{beside}"


def _memory(content: dict[str, Any]) -> str:
    peak_mb = content["peak_memory_mb"]
    return f"{peak_mb:.0f} MB of memory at the most; " if peak_mb else ""


def _baseline(baseline: dict[str, Any], budget: bool) -> str:
    ms = baseline["measured_ms"]
    if baseline["feasible"]:
        return f"{ms:.3f}"
    return f"{ms:.3f}, loses too much" if budget and ms is not None else "failed"


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
    table = Table(title=f"{content['model']['path']} on {content['board']['name']}")
    table.add_column("plan")
    table.add_column("ms", justify="right")
    for baseline in sorted(content["baselines"], key=lambda b: b["measured_ms"] or float("inf")):
        table.add_row(baseline["name"], _baseline(baseline, "samples" in content["accuracy"]))
    low, high = content["ci95_ms"]
    table.add_row(
        "[bold]the plan found[/]",
        f"[bold]{content['measured_ms']:.3f}[/] ({low:.3f}–{high:.3f})",
        style="green",
    )
    return table
