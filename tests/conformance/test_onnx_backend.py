"""The onnx package's own backend suite, through packages: all that onnxruntime passes alone."""

import warnings

import onnx
import pytest
from onnx.backend.test import BackendTest

from .backend import Alone, Packaged

pytestmark = pytest.mark.filterwarnings("ignore")  # the suite's own models warn


def _cases(backend):
    """Test functions by name; the light models stand in for those that would be downloaded."""
    with warnings.catch_warnings(action="ignore"):  # the suite's own casts overflow
        items = BackendTest(backend, __name__)._test_items
    return {
        name: item.func
        for category in items.values()
        for name, item in category.items()
        if name.endswith("_cpu")
    }


ALONE, PACKAGED = _cases(Alone), _cases(Packaged)


LARGE = {"test_densenet121_cpu", "test_vgg19_cpu"}


def _marked(name):
    return pytest.param(name, marks=pytest.mark.slow if name in LARGE else ())


@pytest.mark.parametrize("name", [_marked(name) for name in sorted(ALONE)])
def test_case(name):
    try:
        ALONE[name](None)
    except Exception as error:
        pytest.skip(f"onnxruntime alone fails: {type(error).__name__}")
    PACKAGED[name](None)


def test_the_suite_is_there():
    assert len(ALONE) > 1000, onnx.__version__
