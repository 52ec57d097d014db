"""What all lowerings share: the forms of each value, and the steps so far."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, MutableMapping

import numpy as np
import onnx_ir as ir

from qsdnn.model.calibration import Calibration
from qsdnn_primitives.lne.arguments import between
from qsdnn_primitives.lne.packing import pack_channels
from qsdnn_primitives.lne.program import Step, Value, Weights
from qsdnn_primitives.lne.selection import Blocked, Numbers, Selection
from qsdnn_primitives.lne.tensor import Image, Tensor, plain_size
from qsdnn_primitives.lne.values import Shape, image_shape, is_image
from qsdnn_primitives.plain.node import UnsupportedError, is_constant, static_shape


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
        self._images: dict[str, Blocked] = {}
        self._reshaped: dict[str, Blocked] = {}
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

    def take(self, value: ir.Value, form: Tensor | Selection) -> None:
        """Gives a value a form."""
        if not isinstance(form, Blocked):
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

    def blocked(self, value: ir.Value) -> Blocked | None:
        """What has a value's elements in blocks, under whatever shape; None where nothing has."""
        return self._images.get(_name(value)) or self._reshaped.get(_name(value))

    def elements(self, value: ir.Value) -> Image | None:
        """The image that has a value's elements, under whatever shape; None where none has."""
        form = self.blocked(value)
        return None if form is None else self.together(form)

    def together(self, form: Blocked) -> Image:
        """An image, or one of the channels of a selection."""
        if isinstance(form, Image):
            return form
        if form.made is None:
            form.made = form.part or self.new_image(*form.size_of_image)
            if form.made.parent is None:
                self.pick(form.image, form.numbers, form.made)
        return form.made

    def image(self, value: ir.Value) -> Image:
        """A value as an image in blocks.

        Raises:
            UnsupportedError: The value is no image.
        """
        return self.together(self.channels(value))

    def channels(self, value: ir.Value) -> Blocked:
        """A value as an image in blocks, or as a selection of one's channels.

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

    def pick(
        self,
        image: Image,
        numbers: Numbers,
        made: Image,
        steps: tuple[int, int] = (1, 1),
        start: tuple[int, int] = (0, 0),
    ) -> None:
        """Adds a step that writes the channels of some numbers, in that order.

        Args:
            image: The image to read.
            numbers: The number of each channel.
            made: The image to write.
            steps: The rows and columns from one written pixel to the next.
            start: The row and the column of the first.
        """
        places = pack_channels(numbers.astype(np.float32), image.lanes, len(numbers))
        self.add("pick", (image,), made, lambda: {
            "x": image, "channels": places,
            "y": (made, start[0] * made.row + start[1] * made.lanes), "blocks": made.blocks,
            "height": image.height, "width": image.width, "x_block": image.block,
            "x_row": image.row, "y_block": made.block, "y_row": steps[0] * made.row,
            "y_pixel": steps[1] * made.lanes,
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


def _name(value: ir.Value) -> str:
    assert value.name is not None
    return value.name
