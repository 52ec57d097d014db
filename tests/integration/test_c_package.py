"""C packages, compiled by strict compilers, and run by this machine and an emulated Cortex-M7."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner

from qsdnn.cli import group
from qsdnn.engine import EngineInfo, accepted, load_engines
from qsdnn.examples import build
from qsdnn.model import load_graph
from qsdnn.model.feeds import random_feeds
from qsdnn.plan import Choice, Model, to_json
from qsdnn_runtime.program.values import max_error
from tests.unit.plan.test_document import EXAMPLE

STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fno-math-errno"]
VECTORS = {1: [], 4: ["-Wno-psabi"], 8: ["-Wno-psabi", "-mavx2", "-mfma"]}
CORTEX = ["-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard", "-mthumb"]
FLASH, RAM = 2 * 1024 * 1024, 1400 * 1000
"""Bytes of an STM32H7A3: 2 MB of flash, 1.4 MB of RAM (DS13195)."""

DATA = Path(__file__).parents[1] / "data"
NETWORKS = ["tiny-cnn", "tiny-multi", "tiny-transformer", "digits", "kws9", "ds_kws1"]

# A Cortex-M7 of the board AN500, with the memory of an STM32H7A3; code begins at 0.
LINK = f"""
MEMORY {{
    FLASH (rx) : ORIGIN = 0x00000000, LENGTH = {FLASH}
    RAM (rw) : ORIGIN = 0x20000000, LENGTH = {RAM}
}}
SECTIONS {{
    .text : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) *(.ARM.ex*) *(.init*) *(.fini*) }} > FLASH
    .data : {{ *(.data*) }} > RAM AT > FLASH
    from = LOADADDR(.data);
    to = ADDR(.data);
    to_end = ADDR(.data) + SIZEOF(.data);
    .bss (NOLOAD) : {{ zeros = .; *(.bss*) *(COMMON) zeros_end = ALIGN(4); }} > RAM
    end = ALIGN(8);
    __stack = ORIGIN(RAM) + LENGTH(RAM);
    ASSERT(__stack - end > 0x4000, "no room for the stack")
}}
"""
START = """
#include <stdint.h>
#include <stdlib.h>

extern uint32_t from[], to[], to_end[], zeros[], zeros_end[], __stack[];
extern int main(void);
extern void initialise_monitor_handles(void);

static void start(void)
{
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20; /* the floating point unit */
    for (uint32_t *t = to, *f = from; t < to_end;) *t++ = *f++;
    for (uint32_t *t = zeros; t < zeros_end;) *t++ = 0;
    initialise_monitor_handles();
    exit(main());
}

void _fini(void) {}

static void fault(void) { exit(99); }

__attribute__((section(".vectors"), used)) static const void *const VECTORS[] = {
    __stack, (void *)start, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
};
"""
# Told twice: memory that is not as the first run needs it shows in the second.
CHECK = """
#include <stdint.h>
#include <stdio.h>

#include "network.h"

{buffers}
int main(void)
{{
    volatile uint32_t *const clock = (uint32_t *)0xe000e010; /* SysTick */
    uint32_t ticks = 0;
    for (int i = 0; i < 2; i++) {{
        if (TICKS) clock[1] = 0xffffff, clock[2] = 0, clock[0] = 5;
        network_run({names});
        if (TICKS) ticks = 0xffffff - clock[2];
    }}
{tell}    fprintf(stderr, "ticks %lu\\n", (unsigned long)ticks);
    return 0;
}}
"""


@pytest.fixture
def network(tmp_path):
    """A function that writes a network, its plan and its C package, and says what is expected."""

    def write(model, turn=0, lanes=1, foreign=False, plain=False):
        onnx.save(model, tmp_path / "model.onnx")
        graph = load_graph(tmp_path / "model.onnx", workdir=tmp_path)
        engine = load_engines(["lne"])["lne"]
        info = EngineInfo(name="lne", version="1", capabilities=("target:x86-64-v2",))
        found = accepted if plain else type(engine).primitives  # plain loops are not offered
        rows = [[str(p) for p in found(engine, layer, info)] for layer in graph.layers]
        choices = [
            Choice(
                name=layer.name,
                primitive="onnxruntime/gemm/fp32" if foreign else row[min(turn, len(row) - 1)],
            )
            for layer, row in zip(graph.layers, rows, strict=True)
        ]
        plan = dataclasses.replace(
            EXAMPLE,
            model=Model(path=str(tmp_path / "model.onnx"), sha256=graph.sha256),
            layers=tuple(choices),
        )
        (tmp_path / "plan.json").write_text(to_json(plan))
        feeds = random_feeds({name: graph.tensors[name] for name in graph.inputs})
        alone = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
        want = dict(zip(graph.outputs, alone.run(list(graph.outputs), feeds), strict=True))
        words = ["package", str(tmp_path / "plan.json"), "-o", str(tmp_path / "c"), "--force"]
        ran = CliRunner().invoke(group, [*words, "--format", "c", "--lanes", str(lanes)])
        assert ran.exit_code == 0, (ran.output, ran.exception)
        _write_check(tmp_path / "c", feeds, want)
        return tmp_path / "c", want, ran

    return write


def _write_check(folder, feeds, want):
    """Writes a program that runs the network on some inputs and prints all outputs."""
    sides = [("input", feeds), ("output", want)]
    names = {
        word: [word] if len(values) == 1 else [f"{word}_{i}" for i in range(len(values))]
        for word, values in sides
    }
    buffers, tell = "", ""
    for name, value in zip(names["input"], feeds.values(), strict=True):
        numbers = ", ".join(f"{float(x).hex()}f" for x in value.reshape(-1))
        buffers += f"static const float {name}[NETWORK_{name.upper()}_SIZE] = {{{numbers}}};\n"
    for name in names["output"]:
        buffers += f"static float {name}[NETWORK_{name.upper()}_SIZE];\n"
        tell += (
            f"    for (long i = 0; i < NETWORK_{name.upper()}_SIZE; i++) "
            f'printf("%.9g\\n", (double){name}[i]);\n'
        )
    called = ", ".join([*names["input"], *names["output"]])
    text = CHECK.format(buffers=buffers, names=called, tell=tell)
    (folder / "check.c").write_text(text)


def _outputs(text, want):
    flat, made = np.array(text.split(), np.float32), {}
    for name, value in want.items():
        made[name], flat = flat[: value.size].reshape(value.shape), flat[value.size :]
    assert not flat.size
    return made


def _run_here(folder, want, lanes=1):
    """The outputs of a package that this machine's compiler made."""
    files = [str(folder / name) for name in ("network.c", "weights.c", "check.c")]
    program = [*files, "-DTICKS=0", "-lm", "-o", str(folder / "check")]
    subprocess.run([_gcc(), "-O2", *STRICT, *VECTORS[lanes], *program], check=True)
    ran = subprocess.run([folder / "check"], check=True, capture_output=True, text=True)
    return _outputs(ran.stdout, want)


def _gcc():
    found = shutil.which("gcc")
    if found is None:
        pytest.skip("NOT TESTED: C packages. There is no gcc")
    return found


@pytest.mark.parametrize("lanes", VECTORS)
@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_equal_onnxruntime_s(network, name, lanes):
    model = build(name)
    for turn in range(3 if lanes == 1 else 1):
        folder, want, _ = network(model, turn, lanes)
        assert max_error(_run_here(folder, want, lanes), want) < 3e-5


def test_plain_loops_equal_onnxruntime_s(network):
    folder, want, _ = network(build("kws9"), turn=99, plain=True)  # the last that a layer takes
    assert max_error(_run_here(folder, want), want) < 3e-5
    assert "tile_" not in (folder / "network.c").read_text()


def test_an_exported_network_equals_onnxruntime_s(network):
    folder, want, _ = network(onnx.load(DATA / "mobile.onnx"))
    assert max_error(_run_here(folder, want), want) < 3e-5


def test_a_plan_of_other_engines_takes_our_algorithms_and_a_note_says_so(network):
    folder, want, ran = network(build("kws9"), foreign=True)
    assert re.search(r"(\d+) of \1 layers are planned for other engines", ran.stderr)
    assert max_error(_run_here(folder, want), want) < 3e-5
    assert "in_" not in (folder / "network.c").read_text()  # nothing of Winograd's


def test_the_example_is_made_and_runs(network):
    _gcc()
    folder, _, ran = network(build("tiny-cnn"))
    assert f"make -C {folder}" in ran.stdout
    subprocess.run(["make", "-C", folder, "CFLAGS=-O1 -Werror"], check=True)
    shown = subprocess.run([folder / "example"], check=True, capture_output=True, text=True)
    assert np.isfinite(np.array(shown.stdout.split(), np.float32)).all()


def _cortex(folder, want, capsys):
    """The outputs of a package on an emulated Cortex-M7; tells what it takes."""
    compiler, emulator = shutil.which("arm-none-eabi-gcc"), shutil.which("qemu-system-arm")
    if compiler is None or emulator is None:
        pytest.skip(
            "NOT TESTED: C packages on a Cortex-M7. Needs gcc-arm-none-eabi, "
            "libnewlib-arm-none-eabi and qemu-system-arm from Debian"
        )
    (folder / "start.c").write_text(START)
    (folder / "link.ld").write_text(LINK)
    options = ["-O2", *STRICT, *CORTEX, "-ffp-contract=fast", "-DTICKS=1", "-I", str(folder)]
    objects = []
    for name in ("network", "weights", "check", "start"):
        objects.append(str(folder / f"{name}.o"))
        loose = ["-Wno-pedantic"] if name == "start" else []
        source = str(folder / f"{name}.c")
        subprocess.run([compiler, *options, *loose, "-c", source, "-o", objects[-1]], check=True)
    image = str(folder / "image.elf")
    link = ["--specs=rdimon.specs", "-nostartfiles", "-T", str(folder / "link.ld"), "-lm"]
    subprocess.run([compiler, *CORTEX, *objects, *link, "-o", image], check=True)
    board = ["-M", "mps2-an500", "-display", "none", "-serial", "none", "-monitor", "none"]
    semihosting = ["-semihosting-config", "enable=on,target=native", "-icount", "shift=0"]
    ran = subprocess.run(
        [emulator, *board, *semihosting, "-kernel", image],
        check=True, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    sizes = subprocess.run(
        ["arm-none-eabi-size", *objects[:2]], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    parts = np.array([row.split()[:3] for row in sizes[1:]], int)
    text, data, bss = parts.sum(axis=0)
    ticks = int(re.search(r"ticks (\d+)", ran.stderr)[1])
    with capsys.disabled():
        print(
            f"\n{folder.parent.name}: flash {(text + data) / 1e3:.1f} kB (code "
            f"{parts[0][0] / 1e3:.1f}), RAM {(data + bss) / 1e3:.1f} kB, "
            f"{ticks * 40 / 1e6:.2f} M instructions an inference"
        )
    assert text + data < FLASH and data + bss < RAM
    return _outputs(ran.stdout, want)


@pytest.mark.parametrize("turn", [0, 2], ids=["winograd", "direct"])
@pytest.mark.parametrize("name", ["kws9", "ds_kws1", "tiny-transformer"])
def test_it_fits_a_cortex_m7_and_gives_the_same_outputs(network, name, turn, capsys):
    folder, want, _ = network(build(name), turn)
    found = _cortex(folder, want, capsys)
    assert max_error(found, want) < 3e-5
    assert max_error(found, _run_here(folder, want)) < 1e-5
