"""Finding and loading oneDNN: what is said where it is missing or does not fit, and that all goes on without it."""

import ctypes.util
import sys
from pathlib import Path

import numpy as np
import pytest

import lunar_core as lc
from lunar_core import kernels, ops
from lunar_kernels import library as module
from lunar_kernels.library import Library, find
from lunar_kernels.onednn import OneDNN


@pytest.fixture
def without(monkeypatch):
    """A provider whose library is looked for anew, and is in use."""

    def make(path):
        monkeypatch.setenv(module.VARIABLE, str(path))
        monkeypatch.setattr("lunar_kernels.onednn.library", fresh)
        monkeypatch.setattr("lunar_kernels.plans.library", fresh)
        kernels.reset()
        kernels.providers.found = []
        provider = OneDNN()
        kernels.add(provider)
        return provider

    fresh = Library()
    yield make
    kernels.reset()


def convolve():
    out = ops.conv2d(lc.ones((1, 1, 4, 4)), lc.ones((1, 1, 3, 3)))
    return out.data.ravel().tolist()


def test_without_the_library_everything_is_computed_by_the_reference(without, tmp_path):
    provider = without(tmp_path / "libdnnl.so.3")
    assert not provider.available()
    assert provider.reason == f"{module.VARIABLE} names '{tmp_path}/libdnnl.so.3', which is no file"
    assert kernels.chosen("conv2d") == ["reference"]
    assert convolve() == [9, 9, 9, 9]
    assert provider.describe() == {"available": False, "reason": provider.reason}
    (status,) = kernels.status()
    assert status.reason == provider.reason and status.ops == ()


def test_a_file_that_is_no_library_is_found_out_at_the_first_kernel_and_the_reference_computes(without, tmp_path):
    broken = tmp_path / "libdnnl.so.3"
    broken.write_text("not a library")
    provider = without(broken)
    assert provider.available()  # nothing was loaded yet
    assert convolve() == [9, 9, 9, 9]
    assert not provider.available()
    assert str(broken) in provider.reason
    assert convolve() == [9, 9, 9, 9]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names a library of Linux")
def test_another_library_is_refused_with_what_it_lacks(without):
    other = ctypes.util.find_library("m")
    maps = Path("/proc/self/maps").read_text().splitlines()
    path = next((line.split()[-1] for line in maps if other in line), None)
    if path is None:
        pytest.skip("the C library's libm is not mapped here")
    provider = without(path)
    assert convolve() == [9, 9, 9, 9]
    assert "dnnl_version" in provider.reason and path in provider.reason


def test_a_library_without_its_openmp_says_what_to_install(tmp_path):
    error = OSError("libgomp.so.1: cannot open shared object file: No such file or directory")
    assert "apt install libgomp1" in module._explain(tmp_path, error)


def test_another_version_is_refused(onednn, monkeypatch):
    monkeypatch.setattr(module, "NEEDED", (3, 99))
    other = Library()
    assert other.load() is None
    assert "it is version 3.2, needed is" in other.reason


def test_the_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.delenv(module.VARIABLE, raising=False)
    monkeypatch.setattr(module, "DISTRIBUTION", "no-such-distribution")
    monkeypatch.setattr(module.sys, "prefix", "/nowhere")
    path, reason = find()
    assert path is None
    assert reason in (
        "no-such-distribution is not installed: pip install no-such-distribution",
        "no-such-distribution exists for Linux on x86-64 only",
    )


def test_the_address_of_an_array_is_read_from_the_array_object(onednn):
    from lunar_kernels.plans import address

    for array in (np.zeros(5), np.zeros((3, 4))[1:, ::2], np.zeros((2, 3)).T, np.zeros(9)[::-1]):
        assert address(array) == array.ctypes.data
