"""The manifest of a package: ``manifest.json``, schema ``qsdnn.package/1``.

::

    {"schema": "qsdnn.package/1",
     "model": {"name", "sha256"},
     "threads": 1,
     "tensors": {NAME: {"dtype": "float32", "shape": [1, 3, 224, 224]}},
         # dtype "" or shape null: no static buffer can hold it, it is passed by value
     "inputs": [NAME], "outputs": [NAME],
     "segments": [                                  # in execution order
       {"engine": "openvino", "family": "openvino/fp32", "artifact": FILE,
        "inputs": [NAME], "outputs": [NAME], "options": {...},
        "layers": [{"index": 0, "name": "conv1", "primitive": "openvino/auto/fp32"}]}],
     "artifacts": {FILE: {"sha256", "size_bytes"}}} # in the folder artifacts/
"""

from __future__ import annotations

SCHEMA = "qsdnn.package/1"
