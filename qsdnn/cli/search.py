"""The command ``qsdnn search``: finds the fastest plan of a network on a board."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qsdnn.agents import names
from qsdnn.cli.options import (
    accuracy_options,
    board_option,
    care_options,
    cold_option,
    json_option,
    parse_duration,
    parse_limit,
    parse_share,
    parse_size_mb,
    shape_option,
    split_names,
    store_option,
    threads_option,
)
from qsdnn.errors import InputError, VerificationError
from qsdnn.files import check_writable

if TYPE_CHECKING:
    from qsdnn.board import Care
    from qsdnn.plan import Plan
    from qsdnn.tuning.config import SearchConfig
    from qsdnn.tuning.result import Result

EPILOG = """\b
Examples:
  qsdnn search resnet50.onnx
  qsdnn search model.onnx --threads 4 --budget 10m -o fast.json
  qsdnn search model.onnx --budget 30m --until 95%
  qsdnn search model.onnx --engines onnxruntime,openvino --shape input=1,3,224,224
  qsdnn search model.onnx --calibration images.npz --labels labels.npy --max-drop 1%
  qsdnn search model.onnx --calibration images/ --min-sqnr 30 --precision bf16
  qsdnn search model.onnx --calibration images/ --max-drop 0.01 --pareto
  qsdnn search model.onnx --objective memory --max-latency 20
  qsdnn search model.onnx --json | jq .speedup_vs_best_uniform
"""


@click.command(epilog=EPILOG, short_help="Find the fastest plan of a network on a board.")
@click.argument("model", type=click.Path(path_type=Path))
@board_option
@care_options
@cold_option
@click.option("--engines", default=None, callback=split_names, metavar="A,B",
              help="The engines to choose from.  [default: all that the board has]")  # fmt: skip
@click.option("--precision", "precisions", multiple=True, default=(),
              type=click.Choice(["fp32", "tf32", "bf16", "fp16", "int8"]),
              help="A precision to choose from besides fp32; repeatable.  [default: fp32; with a "
              "limit of accuracy all]")  # fmt: skip
@accuracy_options
@click.option("--pareto", is_flag=True,
              help="Also measure the front of latency, accuracy and memory: a plan each point, a "
              "table and a picture, beside the plan.")  # fmt: skip
@threads_option
@shape_option
@click.option("--agent", default="q-learning", show_default=True,
              help=f"The agent that learns: {', '.join(names())}.")  # fmt: skip
@click.option("--preset", default="default", show_default=True,
              help="The agent's settings: default, qsdnn-2018, metaqnn.")  # fmt: skip
@click.option("--episodes", default=1000, show_default=True, type=click.IntRange(1),
              help="The number of episodes in each round of learning.")  # fmt: skip
@click.option("--budget", "budget_s", default="5m", show_default=True, metavar="TIME",
              callback=lambda _context, _option, text: parse_duration("--budget", text),
              help="The time of the whole search, loading to verifying: 90s, 5m, 1h.")  # fmt: skip
@click.option("--measurements", default=None, type=click.IntRange(1), metavar="N",
              help="The most plans to measure, uniform and mixed, after one look at each engine.  "
              "[default: any]")  # fmt: skip
@click.option("--patience", default=2, show_default=True, type=click.IntRange(1), metavar="N",
              help="The rounds without a better plan after which the search ends.")  # fmt: skip
@click.option("--until", default=None, metavar="SHARE",
              callback=lambda _context, _option, text: parse_share("--until", text),
              help="End when the search is that sure that no plan in view gains over 1 %: 95%. "
              "[default: 95%, or what --patience says]")  # fmt: skip
@click.option("--objective", default="latency", show_default=True,
              type=click.Choice(["latency", "memory", "energy"]),
              help="The quantity to have least of, within the limits below.")  # fmt: skip
@click.option("--max-latency", "max_latency_ms", default=None, metavar="MS",
              callback=lambda _context, _option, text: parse_limit("--max-latency", text),
              help="The most milliseconds that one inference may take.")  # fmt: skip
@click.option("--max-energy", "max_energy_mj", default=None, metavar="MJ",
              callback=lambda _context, _option, text: parse_limit("--max-energy", text),
              help="The most millijoules one inference may take, by the board's own sensors."
              )  # fmt: skip
@click.option("--max-memory", "max_memory_mb", default=None, metavar="SIZE",
              callback=lambda _context, _option, text: parse_size_mb("--max-memory", text),
              help="The most memory a process with the plan may take: 300M, 2G.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), 
              help="The seed of every random number.")  # fmt: skip
@click.option("--input", "inputs", type=click.Path(path_type=Path), metavar="FILE.npz",
              help="Inputs to measure and verify with, one array for each input of the network; "
              "FILE.npy for a single input.  [default: random ones]")  # fmt: skip
@click.option("--tolerance", default=1e-4, show_default=True, type=click.FloatRange(0, 1),
              help="Largest error of an output, relative to its largest magnitude.")  # fmt: skip
@store_option
@click.option("--remeasure", is_flag=True, help="Measure every plan anew, even those in the store.")
@click.option("--logdir", "log_dir", type=click.Path(path_type=Path), default=None,
              help="The folder to write TensorBoard event files to.  [default: none]")  # fmt: skip
@click.option("-o", "--output", default="plan.json", show_default=True,
              type=click.Path(path_type=Path), help="The file to write the plan to.")  # fmt: skip
@click.option("--cost-model", type=click.Path(path_type=Path), metavar="FILE.npz",
              help="A file to write the cost model to, for the Gymnasium environment.")  # fmt: skip
@json_option
def command(
    board: str,
    care: Care,
    store: str | None,
    output: Path,
    cost_model: Path | None,
    as_json: bool,
    **asked: Any,
) -> None:
    """Find the fastest plan of MODEL (an ONNX file) on a board.

    Measures uniform plans (each engine alone), learns which primitive suits each layer, measures
    the most promising mixed plans, and verifies the winner's outputs against onnxruntime fp32.
    All measurements are stored: interrupted, the same command goes on from there. The best plan so
    far is always in the output file, marked as interim until it is verified.
    """
    # Before numpy is loaded: its threads would spin beside what is measured here, and gain nothing.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    config = _config(asked)
    for path in filter(None, (output, cost_model)):
        check_writable(path)
    result = _search(config, board, care, store, quiet=as_json, output=output)
    result.save(output)
    if cost_model is not None:
        result.save_cost_model(cost_model)
    found, content = result.found, {**result.document, "plan": str(output)}
    if found.front:
        from qsdnn.cli.front import write_front

        content["front"] = write_front(found.front, output)
    if as_json:
        click.echo(json.dumps(content))
    else:
        from qsdnn.cli.summary import print_summary

        print_summary(content)
    if not content["verified"]:
        raise VerificationError(
            f"the outputs differ by {found.plan.accuracy.plan} from onnxruntime's"
        )


def _config(asked: dict[str, Any]) -> SearchConfig:
    from qsdnn.primitive import Precision
    from qsdnn.tuning.config import Objective, SearchConfig

    asked["objective"] = Objective(asked["objective"])
    if asked["pareto"] and asked["objective"] is not Objective.LATENCY:
        raise InputError(
            f"--pareto is the front of latency and accuracy, --objective is {asked['objective']}",
            hint="leave one of them out",
        )
    names = asked.pop("precisions")
    if asked["pareto"] and asked["accuracy"] is None:
        raise InputError(
            "--pareto: accuracy can be lost for latency only where data tells how much",
            hint="add --calibration DIR or FILE.npz, and a budget for the plan itself: --max-drop "
            "1% or --min-sqnr 30",
        )
    if asked["accuracy"] is None and set(names) - {"fp32"}:
        raise InputError(
            f"--precision {' '.join(names)}: less than fp32 loses accuracy",
            hint="say how much may be lost, and on which data: --calibration data.npz "
            "--max-drop 1%, or --min-sqnr 30",
        )
    if asked["accuracy"] is not None and not names:
        names = tuple(Precision)
    precisions = tuple(Precision(name) for name in dict.fromkeys(["fp32", *names]))
    line = shlex.join(["qsdnn", *sys.argv[1:]])
    return SearchConfig(**asked, precisions=precisions, command=line)


def _search(
    config: SearchConfig, board: str, care: Care, store: str | None, *, quiet: bool, output: Path
) -> Result:
    from qsdnn.api import search_for
    from qsdnn.cli.progress import EventLog, Terminal
    from qsdnn.listener import Several

    start_s: float | None = click.get_current_context().find_root().obj
    with ExitStack() as stack:
        listener = Several(stack.enter_context(Terminal(quiet=quiet, budget_s=config.budget_s)))
        if config.log_dir is not None:
            listener = Several(listener, stack.enter_context(EventLog(config.log_dir)))
        return search_for(
            config,
            board=board,
            care=care,
            store=store,
            listener=listener,
            on_plan=_keeper(output),
            start_s=start_s,
        )


def _keeper(output: Path) -> Callable[[Plan], None]:
    """A function that writes each interim plan, so that a plan is there however the search ends."""
    from qsdnn.plan import write_plan

    def keep(plan: Plan) -> None:
        if output.is_file() or not output.exists():  # a pipe takes one plan, the last
            write_plan(plan, output)

    return keep
