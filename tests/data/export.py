"""Writes the PyTorch models of this folder, with seeded random weights.

Run by hand, in an environment with the `export` dependency group (torch, onnxscript):

    python tests/data/export.py

Every model is exported by PyTorch's current exporter at its default opset, weights inline. The
same torch gives the same weights; names of nodes may differ between versions.
"""

from __future__ import annotations

from pathlib import Path

import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor, nn

FOLDER = Path(__file__).parent


class SqueezeExcite(nn.Module):
    """A gate a channel, from the mean of each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 4, 1)
        self.expand = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = nn.functional.relu(self.reduce(x.mean((2, 3), keepdim=True)))
        return x * nn.functional.hardsigmoid(self.expand(gate))


class Block(nn.Module):
    """An inverted residual of MobileNet-V3."""

    def __init__(self, channels: int, activation: nn.Module) -> None:
        super().__init__()
        wide = 2 * channels
        self.layers = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            activation,
            nn.Conv2d(wide, wide, 3, padding=1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            activation,
            SqueezeExcite(wide),
            nn.Conv2d(wide, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Mobile(nn.Module):
    """Depthwise convolutions, squeeze and excite, SiLU and hard-swish."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.Hardswish(),
            Block(16, nn.Hardswish()),
            Block(16, nn.SiLU()),
        )
        self.head = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.features(image).mean((2, 3)))


class Pair(nn.Module):
    """Two inputs, two outputs, a trunk that both share."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 8, 3, padding=1)
        self.right = nn.Conv2d(1, 8, 3, padding=1)
        self.trunk = nn.Conv2d(16, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, color: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat((self.left(color).relu(), self.right(depth).relu()), 1)
        mask = self.trunk(both).sigmoid()
        return mask, self.head(mask.mean((2, 3))).softmax(-1)


class ChannelNorm(nn.Module):
    """Layer normalisation of the channels at each place, as torchvision's LayerNorm2d."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNextBlock(nn.Module):
    """Depthwise 7×7, then layer normalisation and linear layers channels-last, with GELU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.mix = nn.Sequential(
            nn.LayerNorm(channels, eps=1e-6),
            nn.Linear(channels, 4 * channels),
            nn.GELU(),
            nn.Linear(4 * channels, channels),
        )
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix(self.filter(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.scale * mixed


class ConvNext(nn.Module):
    """ConvNeXt (arXiv 2201.03545) as torchvision has it, with few channels and blocks."""

    def __init__(self, widths: tuple[int, ...], depths: tuple[int, ...]) -> None:
        super().__init__()
        stem = [nn.Conv2d(3, widths[0], 4, stride=4), ChannelNorm(widths[0])]
        layers: list[nn.Module] = [*stem, *(ConvNextBlock(widths[0]) for _ in range(depths[0]))]
        for before, width, depth in zip(widths, widths[1:], depths[1:], strict=False):
            layers += [ChannelNorm(before), nn.Conv2d(before, width, 2, stride=2)]
            layers += [ConvNextBlock(width) for _ in range(depth)]
        self.features = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.norm(self.features(image).mean((2, 3))))


def encoder() -> nn.Module:
    """Two layers of a transformer encoder."""
    layer = nn.TransformerEncoderLayer(
        32, 4, dim_feedforward=64, activation="gelu", batch_first=True
    )
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


def randomize(model: nn.Module) -> nn.Module:
    """Gives BatchNormalization something to do."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.eval()


def export(name: str, model: nn.Module, inputs: dict[str, Tensor], **options: object) -> None:
    """Writes one model."""
    program = torch.onnx.export(
        randomize(model), tuple(inputs.values()), input_names=list(inputs), dynamo=True, **options
    )
    ClearMetadataAndDocStringPass()(program.model)  # stack traces of the machine it ran on
    program.save(FOLDER / f"{name}.onnx", external_data=False)


def main() -> None:
    """Writes all models."""
    torch.manual_seed(0)
    export("encoder", encoder(), {"tokens": torch.randn(1, 16, 32)}, output_names=["out"])
    export("mobile", Mobile(), {"image": torch.randn(1, 3, 32, 32)}, output_names=["logits"])
    export(
        "pair",
        Pair(),
        {"color": torch.randn(1, 3, 16, 16), "depth": torch.randn(1, 1, 16, 16)},
        output_names=["mask", "classes"],
    )
    export(
        "dynamic",
        Mobile(),
        {"image": torch.randn(2, 3, 32, 32)},
        output_names=["logits"],
        dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
    )
    export(
        "convnext",
        ConvNext((8, 16, 32), (1, 2, 1)),
        {"image": torch.randn(1, 3, 32, 32)},
        output_names=["logits"],
    )


if __name__ == "__main__":
    main()
