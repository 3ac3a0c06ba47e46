"""That glibc is asked to keep freed memory, unless someone has decided otherwise."""

import platform

import pytest

from lunar_kernels import memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs the GNU C library")
def test_glibc_takes_the_settings(monkeypatch):
    for name in (memory.VARIABLE, "GLIBC_TUNABLES", *memory._SETTINGS):
        monkeypatch.delenv(name, raising=False)
    assert memory.keep()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (memory.VARIABLE, "0"),
        ("MALLOC_TRIM_THRESHOLD_", "131072"),
        ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=131072"),
    ],
)
def test_the_users_own_settings_stand(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert not memory.keep()
