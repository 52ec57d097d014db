"""The runtime's zip: equal files, equal bytes; and a board needs nothing else of ours."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile

from qsdnn.plan.archive import runtime_archive


def test_equal_files_give_equal_bytes():
    assert runtime_archive() == runtime_archive.__wrapped__()
    names = zipfile.ZipFile(io.BytesIO(runtime_archive().content)).namelist()
    assert "qsdnn_runtime/server/__main__.py" in names and names == sorted(names)
    assert all(name.startswith("qsdnn_runtime/") and name.endswith(".py") for name in names)


def test_the_agent_starts_from_the_zip_rather_than_from_what_is_installed(tmp_path):
    archive = tmp_path / "runtime.zip"
    archive.write_bytes(runtime_archive().content)
    code = (
        f"import sys; sys.path.insert(0, {str(archive)!r});"
        "import qsdnn_runtime.server as agent; print(agent.__file__)"
    )
    ran = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert ran.stdout.startswith(str(archive)), ran.stderr
