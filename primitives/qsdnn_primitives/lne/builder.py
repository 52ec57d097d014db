"""What all lowerings share: the forms of each value, and the steps so far."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, MutableMapping, Sequence

import numpy as np
import onnx_ir as ir

from qsdnn.model.calibration import Calibration
from qsdnn_primitives.lne.kernel import Activation, Operation
from qsdnn_primitives.lne.program import Step, Value, Weights
from qsdnn_primitives.lne.tensor import Image, Tensor, plain_size
from qsdnn_primitives.plain.node import Op, UnsupportedError, is_constant, static_shape

Shape = tuple[int, ...]


class Builder:
    """Collects the steps of a segment.

    A value has up to two forms: an image in blocks, and a plain tensor in ONNX's order; a step
    converts where a reader needs the other. A value that is no image may have the form of an image
    under another shape: its elements are the same, in the same order.

    Attributes:
        lanes: The channels in a block.
        steps: The steps so far.
        layer: The index of the layer that is being lowered.
        rounded: Images that were rounded to few bits, by value, precision and padding.
        steps_of_int8: What a whole number of each output is worth, and the bias, by weights.

    Args:
        lanes: The channels in a block.
        l2_floats: The second-level cache of one core, in floats.
        calibration: The ranges of the network's tensors, for int8.
        byte_offset: What the processor's bytes are less than unsigned ones: 128 where it multiplies
            signed ones.
        steps_of_int8: See the attribute: those that are known, of the same network.
    """

    def __init__(
        self,
        lanes: int,
        l2_floats: int = 1 << 17,
        *,
        calibration: Calibration | None = None,
        byte_offset: int = 0,
        steps_of_int8: MutableMapping[tuple[Hashable, ...], tuple[Weights, Weights]] | None = None,
    ) -> None:
        self.lanes = lanes
        self.calibration = calibration
        self.byte_offset = byte_offset
        self.steps_of_int8 = {} if steps_of_int8 is None else steps_of_int8
        self.rounded: dict[tuple[Hashable, ...], Image] = {}
        self.l2_floats = l2_floats
        self.steps: list[Step] = []
        self.layer = 0
        self._images: dict[str, Image] = {}
        self._reshaped: dict[str, Image] = {}
        self._plain: dict[str, Tensor] = {}
        self._thinned: dict[tuple[str, int, int], Image] = {}

    def add(
        self,
        kernel: str,
        reads: tuple[Tensor | None, ...],
        write: Tensor,
        arguments: Callable[[], Mapping[str, Value]],
        scratch: Callable[[], int] = lambda: 0,
    ) -> None:
        """Adds a step."""
        found = tuple(tensor for tensor in reads if tensor is not None)
        self.steps.append(
            Step(
                kernel=kernel, layer=self.layer, reads=found, writes=(write,),
                arguments=arguments, scratch=scratch,
            )
        )  # fmt: skip

    def take(self, value: ir.Value, form: Tensor) -> None:
        """Gives a value a form."""
        if not isinstance(form, Image):
            self._plain[_name(value)] = form
        elif is_image(static_shape(value)) and image_shape(value) == form.size_of_image:
            self._images[_name(value)] = form
        else:
            self._reshaped[_name(value)] = form

    def has_image(self, value: ir.Value) -> bool:
        """Whether a value is an image in blocks already, or as good as one."""
        return not is_constant(value) and _name(value) in self._images

    def has_plain(self, value: ir.Value) -> bool:
        """Whether a value lies in ONNX's order already."""
        return _name(value) in self._plain

    def elements(self, value: ir.Value) -> Image | None:
        """The image that has a value's elements, under whatever shape; None where none has."""
        return self._images.get(_name(value)) or self._reshaped.get(_name(value))

    def image(self, value: ir.Value) -> Image:
        """A value as an image in blocks.

        Raises:
            UnsupportedError: The value is no image.
        """
        name = _name(value)
        if name not in self._images:
            channels, height, width = image_shape(value)
            plain = self.plain(value)
            side_by_side = channels % self.lanes == 0 or (plain.parent is None and not plain.buffer)
            if self.lanes == 1 or (height * width == 1 and side_by_side):  # already in blocks
                self._images[name] = Image(
                    channels=channels, height=height, width=width, lanes=self.lanes,
                    rigid=True, parent=plain,
                )  # fmt: skip
            else:
                made = self.new_image(channels, height, width)
                self._images[name] = made
                self.add("pack", (plain,), made, lambda: {
                    "x": plain, "y": made, "channels": channels, "blocks": made.blocks,
                    "height": height, "width": width, "x_channel": height * width,
                    "x_row": width, "y_block": made.block, "y_row": made.row,
                })  # fmt: skip
        return self._images[name]

    def padded(self, image: Image, need: tuple[int, int, int, int]) -> Image:
        """An image with a halo at least so wide: the image itself, or a copy where that is better.

        A copy is needed of a rigid image, and faster of one that is made faster without a halo.
        """
        if not any(need):
            return image
        root: Tensor = image
        while isinstance(root, Image) and root.parent is not None:
            root = root.parent
        if not isinstance(root, Image) or root.rigid or (image.keep_dense and root is image):
            made = Image(
                channels=image.channels, height=image.height, width=image.width, lanes=image.lanes
            )
            made.need(*need)
            self.copy_image(image, made)
            return made
        image.need(*need)
        return image

    def copy_image(self, image: Image, made: Image) -> None:
        """Adds a step that copies an image."""
        self.add("copy", (image,), made, lambda: {
            "x": image, "y": made, "blocks": image.blocks, "height": image.height,
            "width": image.width * image.lanes, "x_block": image.block, "x_row": image.row,
            "y_block": made.block, "y_row": made.row,
        })  # fmt: skip

    def interleaved(self, value: ir.Value, need: tuple[int, int, int, int]) -> Image:
        """A value as an image with the channels of a pixel side by side, and a halo."""
        channels, height, width = image_shape(value)
        plain = self.plain(value)
        if channels == 1 and not any(need):
            return Image(channels=1, height=height, width=width, lanes=1, parent=plain)
        made = Image(channels=channels, height=height, width=width, lanes=channels)
        made.need(*need)
        self.add("interleave", (plain,), made, lambda: {
            "x": plain, "y": made, "channels": channels, "height": height, "width": width,
            "x_channel": height * width, "x_row": width, "y_row": made.row,
        })  # fmt: skip
        return made

    def thinned(self, value: ir.Value, high: int, wide: int) -> Image:
        """Every so many rows and columns of an image: made once for all who read it so."""
        key = (_name(value), high, wide)
        if key not in self._thinned:
            x = self.image(value)
            made = self.new_image(x.channels, -(-x.height // high), -(-x.width // wide))
            self._thinned[key] = made
            self.add("pool", (x,), made, lambda: {
                **between(x, made), "rows": 1, "columns": 1, "stride_high": high,
                "stride_wide": wide, "dilation_high": 1, "dilation_wide": 1,
            })  # fmt: skip
        return self._thinned[key]

    def plain(self, value: ir.Value) -> Tensor:
        """A value in ONNX's order, without gaps."""
        name = _name(value)
        if name not in self._plain:
            image = self.elements(value)
            if image is None:
                raise UnsupportedError(f"{value.name} is constant")
            flat = image.height * image.width == 1 or self.lanes == 1
            if flat and image.is_dense and image.parent is None:
                image.rigid = True
                self._plain[name] = Tensor(size=image.floats, parent=image)
            else:
                made = self.new_plain(static_shape(value))
                self._plain[name] = made
                self.unpack(image, made)
        return self._plain[name]

    def unpack(self, image: Image, made: Tensor) -> None:
        """Adds a step that writes an image in ONNX's order."""
        height, width = image.height, image.width
        self.add("unpack", (image,), made, lambda: {
            "x": image, "y": made, "channels": image.channels, "blocks": image.blocks,
            "height": height, "width": width, "x_block": image.block, "x_row": image.row,
            "y_channel": height * width, "y_row": width,
        })  # fmt: skip

    def new_image(self, channels: int, height: int, width: int) -> Image:
        """An image of the program's own."""
        return Image(channels=channels, height=height, width=width, lanes=self.lanes)

    def image_of(self, value: ir.Value) -> Image:
        """A new image for a value that is being made."""
        made = self.new_image(*image_shape(value))
        self.take(value, made)
        return made

    def new_plain(self, shape: Shape) -> Tensor:
        """A plain tensor of the program's own."""
        return Tensor(size=plain_size(shape, self.lanes))

    def plain_of(self, value: ir.Value) -> Tensor:
        """A new plain tensor for a value that is being made."""
        made = self.new_plain(static_shape(value))
        self.take(value, made)
        return made


def image_shape(value: ir.Value) -> tuple[int, int, int]:
    """Channels, height and width of a value of one image.

    Raises:
        UnsupportedError: The value is no image, or a batch of several.
    """
    shape = static_shape(value)
    if not is_image(shape):
        raise UnsupportedError(f"{value.name} is no single image")
    height, width = ((1, 1), (1, shape[-1]), shape[2:])[len(shape) - 2]
    return shape[1], height, width


def is_image(shape: Shape) -> bool:
    """Whether a shape is one image: (1, C), (1, C, W) or (1, C, H, W)."""
    return 2 <= len(shape) <= 4 and shape[0] == 1


def constant_of(value: ir.Value) -> Weights:
    """The value of a constant, in single precision.

    Raises:
        UnsupportedError: The value is no constant.
    """
    if not is_constant(value) or value.const_value is None:
        raise UnsupportedError(f"{value.name} is not constant")
    return np.ascontiguousarray(value.const_value.numpy(), np.float32)


def bias_of(op: Op, channels: int) -> Weights:
    """What a convolution adds to each channel."""
    if len(op.inputs) > 2:
        return constant_of(op.inputs[2]).reshape(-1)
    return np.zeros(channels, np.float32)


def between(x: Image, y: Image) -> dict[str, Value]:
    """The arguments of a pool that tell where its images lie, once their halos are known."""
    return {
        "x": x, "y": y, "blocks": x.blocks, "height": y.height, "width": y.width,
        "x_height": x.height, "x_width": x.width, "x_block": x.block, "x_row": x.row,
        "y_block": y.block, "y_row": y.row,
    }  # fmt: skip


def move_arguments(
    x: tuple[Tensor | Weights, int],
    y: tuple[Tensor, int],
    dims: Sequence[tuple[int, int, int]],
) -> dict[str, Value]:
    """The arguments of a move, of places and of six dimensions: size, step of x, step of y."""
    found: dict[str, Value] = {"x": x, "y": y}
    for axis, (size, of_x, of_y) in enumerate(dims):
        found |= {f"n{axis}": size, f"x{axis}": of_x, f"y{axis}": of_y}
    return found


def activation_arguments(activation: tuple[Activation, float, float]) -> dict[str, Value]:
    """The arguments of an activation."""
    kind, alpha, beta = activation
    return {"activation": int(kind), "alpha": alpha, "beta": beta}


def _name(value: ir.Value) -> str:
    assert value.name is not None
    return value.name


OPERATIONS: Mapping[str, Operation] = {
    "Add": Operation.ADD, "Sub": Operation.SUBTRACT, "Mul": Operation.MULTIPLY,
    "Div": Operation.DIVIDE, "Max": Operation.LARGER, "Min": Operation.SMALLER,
    "Sum": Operation.ADD, "PRelu": Operation.SLOPE, "Pow": Operation.POWER,
}  # fmt: skip
"""The function of each operator of two operands."""
