"""Trains the network `digits` on scikit-learn's handwritten digits.

    pip install torch==2.13.0 scikit-learn && python experiments/train_digits.py

Half of the 1797 digits (Alpaydin and Kaynak 1998, 8×8) train it, shifted by up to a pixel and with
noise. The other half is written beside the network, for `qsdnn example digits --data`.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch_network import TorchNetwork, fit, top1

from qsdnn.examples.data import FOLDER, digit_inputs
from qsdnn.examples.small import digits

BATCH = 50
NOISE = 0.1
RESULTS = Path(__file__).parent / "results" / "train_digits.json"


def shifted(x, rng):
    """Each image shifted by up to two of the 16 pixels, with noise."""
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    corners = rng.integers(0, 5, (len(x), 2))
    crops = [padded[i, :, a : a + 16, b : b + 16] for i, (a, b) in enumerate(corners)]
    noise = torch.from_numpy(rng.standard_normal(x.shape, np.float32))
    return torch.stack(crops) + NOISE * noise


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the network goes")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    rng = np.random.default_rng(arguments.seed)

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8).astype(np.uint8)
    train, test, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.5, stratify=labels, random_state=arguments.seed
    )
    x, y = torch.from_numpy(digit_inputs(train)), torch.from_numpy(train_labels)

    def batches():
        order = torch.from_numpy(rng.permutation(len(x)))
        for part in order.split(BATCH)[: len(x) // BATCH]:
            yield shifted(x[part], rng), y[part]

    start = time.monotonic()
    net = TorchNetwork(digits(), arguments.seed)
    for epoch, loss in enumerate(fit(net, batches, arguments.epochs, len(x) // BATCH), 1):
        print(f"epoch {epoch}: loss {loss:.4f} after {time.monotonic() - start:.0f} s", flush=True)

    held_out = torch.from_numpy(digit_inputs(test))
    found = {
        "network": "digits",
        "parameters": net.network.parameters,
        "macs": net.network.macs,
        "training_samples": len(x),
        "test_samples": len(test),
        "top1_training": top1(net, x, y),
        "top1_test": top1(net, held_out, torch.from_numpy(test_labels)),
        "epochs": arguments.epochs,
        "seed": arguments.seed,
        "seconds": round(time.monotonic() - start),
        "command": "python experiments/train_digits.py",
    }
    onnx.save(net.to_onnx(), arguments.folder / "digits.onnx")
    np.savez_compressed(
        arguments.folder / "digits.npz", images=test, labels=test_labels.astype(np.uint8)
    )
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
