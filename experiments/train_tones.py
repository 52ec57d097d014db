"""Trains the network `tones` on synthesised sounds in noise (`qsdnn.examples.data`).

    pip install torch==2.13.0 && python experiments/train_tones.py

They are from loud to very quiet: the first layers need more range than 8 bits have, the rest does
not. The sounds to evaluate on come from another seed: `qsdnn example tones --data` synthesises
them.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from torch_network import TorchNetwork, fit, top1

from qsdnn.examples.data import FOLDER, held_out, sounds
from qsdnn.examples.small import tones

BATCH = 50
TRAINING_SEED = 1
"""Not `qsdnn.examples.small.SOUNDS_SEED`."""
RESULTS = Path(__file__).parent / "results" / "train_tones.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the network goes")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(arguments.seed)

    x, y = map(torch.from_numpy, sounds(arguments.samples, TRAINING_SEED))

    def batches():
        order = torch.from_numpy(rng.permutation(len(x)))
        for part in order.split(BATCH)[: len(x) // BATCH]:
            later = int(rng.integers(-3, 4))  # windows, the same for a batch
            yield x[part].roll(later, 3), y[part]

    start = time.monotonic()
    net = TorchNetwork(tones(), arguments.seed)
    for epoch, loss in enumerate(fit(net, batches, arguments.epochs, len(x) // BATCH), 1):
        print(f"epoch {epoch}: loss {loss:.4f} after {time.monotonic() - start:.0f} s", flush=True)

    test = held_out("tones")
    found = {
        "network": "tones",
        "parameters": net.network.parameters,
        "macs": net.network.macs,
        "training_samples": len(x),
        "test_samples": len(test["labels"]),
        "top1_training": top1(net, x, y),
        "top1_test": top1(net, *(torch.from_numpy(test[name]) for name in ("input", "labels"))),
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - start),
        "command": "python experiments/train_tones.py",
    }
    onnx.save(net.to_onnx(), arguments.folder / "tones.onnx")
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
