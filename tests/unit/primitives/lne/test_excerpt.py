"""Excerpts of the kernels: what is asked for with all it needs, and nothing else."""

import re

import pytest

from qsdnn_primitives.lne.c_kernels import FUNCTIONS, kernels_of
from qsdnn_primitives.lne.excerpt import definitions, excerpt
from qsdnn_primitives.lne.kernel import KERNELS, NARROW, Activation, Operation
from qsdnn_primitives.lne.source import source

SOURCE = """\
/* What it is for. */

#include <stdint.h>

#define TWICE(x) (2 * (x))
typedef int32_t number __attribute__((aligned(8)));
enum {RED = 0, BLUE = 1};

/* A thing. */
struct thing {
    number red;
};

#if defined(ODD)
static int odd(int n) { return n; }
#else
static int odd(int n) { return 1 - n; }
#endif

static int first(const struct thing *a) { return a->red + a->second; }

static int second(int n)
{
    return TWICE(n) + BLUE;
}

static function *const TABLE[] = {second};
"""


def test_what_is_needed_is_kept_in_order():
    text = excerpt(definitions(SOURCE), {"second"})
    assert text == (
        "/* What it is for. */\n\n#include <stdint.h>\n\n#define TWICE(x) (2 * (x))\n"
        "enum {RED = 0, BLUE = 1};\n\nstatic int second(int n)\n{\n    return TWICE(n) + BLUE;\n}\n"
    )


def test_a_member_is_not_the_function_of_its_name():
    text = excerpt(definitions(SOURCE), {"first"})
    assert "static int first" in text and "/* A thing. */\nstruct thing" in text
    assert "typedef" in text and "second(" not in text


def test_both_sides_of_a_condition_stay_together():
    text = excerpt(definitions(SOURCE), {"odd"})
    assert text.count("static int odd") == 2 and "#endif" in text


@pytest.mark.parametrize("lanes", [1, 4])
def test_all_of_a_source_is_all_of_it(lanes):
    found = definitions(source(lanes))
    names = {name for definition in found for name in definition.names}
    assert {FUNCTIONS.get(kernel, kernel) for kernel in KERNELS if kernel != NARROW} <= names
    assert _lines(excerpt(found, names)) == _lines(source(lanes))


def _lines(text):
    return [line for line in text.splitlines() if line]


def test_a_step_has_its_kernel_its_cases_and_no_others():
    fields = {"activation": int(Activation.TANH), "operation": int(Operation.MULTIPLY)}
    text = kernels_of([("binary", fields)], 1)
    assert set(re.findall(r"case (\w+):", text)) == {"CLIP", "TANH", "MULTIPLY"}
    assert "static void binary(" in text and "static void unary(" not in text
    assert "exponential" in text and "logarithm" not in text
    assert "int64_t" not in text and "__" not in text


PRODUCT = {
    "kind": 0, "width": 13, "pixels": 4, "y_blocks": 5, "group": 3, "half": 0, "activation": 0,
}  # fmt: skip


def test_a_product_has_the_tiles_that_it_calls():
    text = kernels_of([("convolution", PRODUCT)], 1)
    tiles = set(re.findall(r"static void (tile_\w+)", text))
    assert tiles == {f"tile_unit_{pixels}x{blocks}" for pixels in (4, 3) for blocks in (3, 2)}
    assert "TILES[][8] = {\n    {0, tiles_unit_2, tiles_unit_3, 0" in text
    assert not re.findall(r"static tile_function \*const tiles_(?!unit_[23])", text)


def test_a_product_whose_last_block_is_half_empty_has_half_tiles_of_that_one():
    text = kernels_of([("convolution", PRODUCT | {"half": 1})], 16)
    tiles = set(re.findall(r"static void (tile_\w+)", text))
    assert tiles == {
        *(f"tile_unit_{pixels}x3" for pixels in (4, 3)),
        *(f"tile_half_unit_{pixels}x2" for pixels in (4, 3)),
    }
