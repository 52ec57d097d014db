"""Guards of the architecture: what the linters alone cannot hold."""

import ast
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUG_INS = {"qsdnn_boards", "qsdnn_envs", "qsdnn_lab", "qsdnn_primitives"}
RUNTIME_API = ["App", "AppError", "EngineError", "FeedError", "PackageError", "Session"]
ON_THE_BOARD = {
    *("ncnn", "numpy", "onnxruntime", "openvino", "tensorrt", "torch", "PIL"),
    *("qsdnn_runtime", "__future__"),
}


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("path", sorted((ROOT / "qsdnn").rglob("*.py")), ids=lambda p: p.name)
def test_the_core_imports_no_plug_in_and_no_engine(path):
    found = set(_imports(path))
    engines = {"ai_edge_litert", "ncnn", "onnxruntime", "openvino", "tensorrt", "torch"}
    assert not found & (PLUG_INS | engines)


@pytest.mark.parametrize("path", sorted((ROOT / "runtime").rglob("*.py")), ids=lambda p: p.name)
def test_the_runtime_is_python_3_8_with_numpy_and_engines_only(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    assert set(_imports(path)) <= ON_THE_BOARD | sys.stdlib_module_names


ROOTS = {"qsdnn": "", "qsdnn_boards": "boards", "qsdnn_lab": "lab",
         "qsdnn_primitives": "primitives", "qsdnn_runtime": "runtime"}  # fmt: skip


def _rooms(top, depth):
    """What each room of a package imports of its others: names of `depth` parts."""
    found = {}
    base = ROOT / ROOTS[top] / top
    for path in base.rglob("*.py"):
        parts = (top, *path.relative_to(base).with_suffix("").parts)
        package = list(parts[:-1])
        me = ".".join(part for part in parts if part != "__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom):
                continue
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                file = base.joinpath(*whole.split(".")[1:])
                target = whole if file.is_dir() or file.with_suffix(".py").exists() else module
                here, there = (".".join(name.split(".")[:depth]) for name in (me, target))
                if target.split(".")[0] == top and here != there:
                    found.setdefault(here, set()).add(there)
    return found


@pytest.mark.parametrize(("top", "depth"), [*((top, 2) for top in ROOTS), ("qsdnn", 3)])
def test_no_rooms_import_one_another_in_a_circle(top, depth):
    rooms = _rooms(top, depth)
    while rooms:  # take away what imports nothing that is left
        leaves = [room for room, others in rooms.items() if not others & rooms.keys()]
        assert leaves, {room: sorted(others & rooms.keys()) for room, others in rooms.items()}
        for leaf in leaves:
            del rooms[leaf]


def test_no_module_is_longer_than_400_lines():
    sizes = {
        path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines())
        for tree in ("qsdnn", "boards", "lab", "primitives", "runtime", "envs")
        for path in (ROOT / tree).rglob("*.py")
    }
    assert not {str(path): size for path, size in sizes.items() if size > 400}


def test_importing_the_core_loads_no_engine():
    loaded = "import sys, qsdnn, qsdnn.cli; print(*sys.modules)"
    names = subprocess.check_output([sys.executable, "-c", loaded], text=True).split()
    heavy = {
        "ai_edge_litert",
        "ncnn",
        "numpy",
        "onnx",
        "onnxruntime",
        "openvino",
        "rich",
        "tensorboard",
        "torch",
        "pandas",
        "scipy",
    }
    assert not heavy & set(names)


def test_the_wheel_holds_our_packages_only(tmp_path):
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert all(top.startswith("qsdnn") for top in tops)
    assert {"qsdnn/plan/plan.schema.json", "qsdnn/py.typed", "qsdnn_runtime/session.py"} <= set(
        names
    )
    files = ("digits.npz", "digits.onnx", "tones.onnx")
    trained = {f"qsdnn/examples/trained/{file}" for file in files}
    assert trained <= set(names)


def test_the_wheel_holds_the_conformance_suite(tmp_path):
    """A stranger's engine inherits it: pytest finds it where there is nothing but the wheel."""
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    command = ["-m", "pytest", "-q", "--collect-only", "--pyargs", "qsdnn_conformance"]
    slow = "--ignore-glob=*/test_onnx_backend.py"  # 15 s to collect
    told = subprocess.run(
        [sys.executable, *command, "-k", "is_exact", slow, "-p", "no:cacheprovider"],
        cwd=_unpacked(wheel, tmp_path / "site"),
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        check=False,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert "test_what_is_offered_is_exact[onnxruntime-conv]" in told.stdout


def _unpacked(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize(
    "path",
    sorted(
        path for tree in ("", "boards/**/", "examples/**/") for path in ROOT.glob(f"{tree}*.toml")
    ),
)
def test_every_toml_parses(path):
    tomllib.loads(path.read_text(encoding="utf-8"))


def test_the_public_api_of_the_runtime():
    import qsdnn_runtime

    assert sorted(qsdnn_runtime.__all__) == RUNTIME_API
    surface = {"run", "get_inputs", "get_outputs", "bind", "run_bound", "close"}
    assert surface <= set(dir(qsdnn_runtime.Session))


def test_the_public_api():
    import qsdnn

    assert qsdnn.__all__ == [
        *("Comparison", "Plan", "QsdnnError", "Replayed", "Result"),
        *("compare", "load_plan", "open_board", "read_cost", "replay", "search"),
    ]
    assert all(getattr(qsdnn, name) is not None for name in qsdnn.__all__)
    assert dir(qsdnn) == sorted([*qsdnn.__all__, "__version__"])


def test_openblas_does_not_spin_where_other_engines_wait():
    """It is read when numpy is imported, so the runtime has to come first."""
    code = (
        "import sys, qsdnn_runtime, os\n"
        "assert 'numpy' in sys.modules\n"
        "print(os.environ['OPENBLAS_THREAD_TIMEOUT'], os.environ['GOMP_SPINCOUNT'])"
    )
    ours = ("OPENBLAS_THREAD_TIMEOUT", "GOMP_SPINCOUNT")
    environment = {k: v for k, v in os.environ.items() if k not in ours}
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert told.stdout.split() == ["4", "10000"]
