"""Round trips, ties, atomic writing, and every way in which a file can be wrong."""

from __future__ import annotations

import io
import json
import os
import pickle
import tracemalloc
import zipfile

import hypothesis.extra.numpy as hnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lunar_core import serialize
from lunar_core.errors import SerializationError
from lunar_core.tensor import Tensor
from lunar_core.testing.fake_device import fake_device

DTYPES = ["f8", "f4", "f2", "c8", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]


def write_raw(path, header, data=b"", length=None):
    """A safetensors file by hand: ``header`` is bytes or an object for JSON, ``length`` a false header length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


# -- round trips -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.text(max_size=12).filter(lambda name: name != "__metadata__"),
        hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)),
        max_size=5,
    )
)
def test_any_state_comes_back_bit_for_bit(tmp_path_factory, state):
    path = tmp_path_factory.mktemp("round") / "state.safetensors"
    serialize.save(state, path)
    back = serialize.load(path)
    assert back.keys() == state.keys()
    for name, array in state.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()
        assert back[name].flags.writeable


@pytest.mark.parametrize("scalar", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_small_floats_of_ml_dtypes_come_back(tmp_path, scalar):
    array = np.linspace(-2, 2, 12).astype(scalar).reshape(3, 4)
    serialize.save({"x": array, "scalar": array[0, 0]}, tmp_path / "x.safetensors")
    back = serialize.load(tmp_path / "x.safetensors")
    assert back["x"].dtype == scalar
    assert back["x"].tobytes() == array.tobytes()
    assert back["scalar"].shape == ()


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a.T,
        lambda a: a[::2, 1:],
        lambda a: a[::-1],
        lambda a: a[..., None].swapaxes(0, 2),
        lambda a: np.broadcast_to(a[:1], (5, 6)),
        np.asfortranarray,
        lambda a: a.astype(">f4"),
    ],
)
def test_the_memory_layout_does_not_change_what_is_stored(tmp_path, view):
    array = view(np.arange(24, dtype=np.float32).reshape(4, 6))
    serialize.save({"x": array}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(serialize.load(tmp_path / "x.safetensors")["x"], array)


def test_tensors_numbers_and_numpy_scalars_are_stored_as_arrays(tmp_path):
    state = {
        "w": Tensor(np.ones((2, 3), np.float32), requires_grad=True),
        "n": 3,
        "f": 0.5,
        "b": True,
        "s": np.int32(7),
    }
    serialize.save(state, tmp_path / "x.safetensors")
    back = serialize.load(tmp_path / "x.safetensors")
    assert back["w"].shape == (2, 3)
    assert (back["n"].item(), back["f"].item(), back["b"].item(), back["s"].item()) == (3, 0.5, True, 7)
    assert back["s"].dtype == np.int32


def test_an_object_with_a_state_dict_is_saved_by_it(tmp_path):
    class Model:
        def state_dict(self):
            return {"weight": np.ones(3)}

    serialize.save(Model(), tmp_path / "x.safetensors")
    assert list(serialize.load(tmp_path / "x.safetensors")) == ["weight"]


def test_metadata_comes_back_without_reading_arrays(tmp_path):
    shared = np.ones(3)
    serialize.save({"a": shared, "b": shared}, tmp_path / "x.safetensors", metadata={"model": "mlp", "é": "ü"})
    assert serialize.load_metadata(tmp_path / "x.safetensors") == {"model": "mlp", "é": "ü"}


def test_the_same_state_gives_the_same_bytes_whatever_the_order_of_names(tmp_path):
    a, b = np.arange(3.0), np.arange(4, dtype=np.int8)
    serialize.save({"a": a, "b": b}, tmp_path / "1")
    serialize.save({"b": b, "a": a}, tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_arrays_on_a_device_are_copied_to_the_host_and_stay_tied(tmp_path):
    with fake_device():
        weight = Tensor(np.arange(6, dtype=np.float32).reshape(2, 3)).to("fake")
        serialize.save({"a": weight, "b": weight.data, "c": weight * 1}, tmp_path / "x.safetensors")
    back = serialize.load(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(back["a"], [[0, 1, 2], [3, 4, 5]])
    assert back["a"] is back["b"]
    assert back["c"] is not back["a"]


# -- ties --------------------------------------------------------------------------------------------------------------


def test_tied_arrays_are_stored_once_and_come_back_tied(tmp_path):
    weight = np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)
    state = {"embed.weight": weight, "head.weight": weight[:], "other": weight.copy()}
    serialize.save(state, tmp_path / "x.safetensors")
    assert (tmp_path / "x.safetensors").stat().st_size < 2.1 * weight.nbytes
    back = serialize.load(tmp_path / "x.safetensors")
    assert back["embed.weight"] is back["head.weight"]
    assert back["other"] is not back["embed.weight"]
    np.testing.assert_array_equal(back["head.weight"], weight)


def test_a_transposed_or_partial_view_is_stored_for_itself(tmp_path):
    flat = np.arange(12.0)
    state = {"a": flat[:6], "b": flat[6:], "overlap": flat[3:9], "m": flat.reshape(3, 4), "t": flat.reshape(3, 4).T}
    serialize.save(state, tmp_path / "x.safetensors")
    back = serialize.load(tmp_path / "x.safetensors")
    for name, array in state.items():
        np.testing.assert_array_equal(back[name], array)
    assert len({id(array) for array in back.values()}) == len(state)


def test_empty_arrays_are_not_taken_for_tied(tmp_path):
    empty = np.empty((0, 3))
    serialize.save({"a": empty, "b": empty}, tmp_path / "x.safetensors")
    back = serialize.load(tmp_path / "x.safetensors")
    assert back["a"] is not back["b"]
    assert back["a"].shape == (0, 3)


# -- writing that fails ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ([1, 2], ["mapping", "list"]),
        ({"a": {"b": np.ones(2)}}, ["'a'", "dict", "dotted"]),
        ({"a": [1.0]}, ["'a'", "list"]),
        ({"a": "text"}, ["'a'", "str"]),
        ({"a": None}, ["'a'", "NoneType"]),
        ({"a": np.array([object()])}, ["'a'", "object"]),
        ({"a": np.array(["x"])}, ["'a'", "<U1"]),
        ({"a": np.ones(2, np.complex128)}, ["'a'", "complex128", "complex64"]),
        ({3: np.ones(2)}, ["3", "int"]),
        ({"__metadata__": np.ones(2)}, ["__metadata__", "reserved"]),
    ],
)
def test_what_cannot_be_stored_is_named_and_nothing_is_written(tmp_path, state, words):
    path = tmp_path / "x.safetensors"
    with pytest.raises(SerializationError) as caught:
        serialize.save(state, path)
    for word in words:
        assert word in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("metadata", [{"epoch": 3}, {3: "x"}, {serialize.TIED_KEY: "{}"}])
def test_metadata_that_is_not_text_is_refused(tmp_path, metadata):
    with pytest.raises(SerializationError, match="metadata"):
        serialize.save({}, tmp_path / "x.safetensors", metadata=metadata)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "x.safetensors"
    serialize.save({"a": np.ones(2)}, path)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), serialize.atomic_file(path) as file:
        file.write(b"half of a fi")
        raise ZeroDivisionError
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_directory_that_does_not_exist_is_one_clear_error(tmp_path):
    with pytest.raises(SerializationError, match=r"cannot write .*nowhere"):
        serialize.save({}, tmp_path / "nowhere" / "x.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_the_file_follows_links_and_the_umask(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.safetensors").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "x.safetensors")
    before = os.umask(0o022)
    try:
        serialize.save({"a": np.ones(2)}, tmp_path / "link")
    finally:
        os.umask(before)
    assert (tmp_path / "link").is_symlink()
    assert serialize.load(tmp_path / "real" / "x.safetensors").keys() == {"a"}
    assert (tmp_path / "real" / "x.safetensors").stat().st_mode & 0o777 == 0o644


# -- reading what is wrong -------------------------------------------------------------------------------------------


def npz_bytes():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(2))
    return buffer.getvalue()


def npy_bytes():
    buffer = io.BytesIO()
    np.save(buffer, np.ones(2))
    return buffer.getvalue()


def zip_bytes():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (pickle.dumps({"a": np.ones(2)}, protocol=2), "pickle"),
        (pickle.dumps({"a": np.ones(2)}, protocol=5), "pickle"),
        (npz_bytes(), "npz"),
        (zip_bytes(), "zip"),
        (npy_bytes(), ".npy"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"GGUF" + bytes(100), "GGUF"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b"<!doctype html><html>404</html>", "web page"),
    ],
)
def test_other_formats_are_called_by_their_name(tmp_path, content, looks):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(SerializationError) as caught:
        serialize.load(path)
    assert looks in str(caught.value)
    assert "weights.safetensors" in str(caught.value)


def test_a_pickle_is_never_executed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was executed",))

    for protocol in range(6):
        path = tmp_path / f"bomb{protocol}"
        path.write_bytes(pickle.dumps(Bomb(), protocol=protocol))
        with pytest.raises(SerializationError):
            serialize.load(path)


GOOD = {"a": tensor()}
HOSTILE = {
    "a header longer than the file": (GOOD, bytes(8), 10**6, "1000000"),
    "a header length of 2^64 - 1": (GOOD, bytes(8), 2**64 - 1, "header of"),
    "a header that is cut": (GOOD, b"", 3, "no valid JSON"),
    "no JSON": (b"{not json", b"", None, "no valid JSON"),
    "bytes that are no UTF-8": (b'{"\xff\xfe": 1}', b"", None, "no valid JSON"),
    "nesting without end": (b"[" * 100_000, b"", None, "no valid JSON"),
    "a number of a million digits": (b'{"a": ' + b"9" * 10**6 + b"}", b"", None, "no valid JSON"),
    "a name given twice": (b'{"a": {}, "a": {}}', b"", None, "'a' appears twice"),
    "a list instead of an object": ([], b"", None, "list"),
    "a tensor that is no object": ({"a": 3}, b"", None, "lacks dtype"),
    "a tensor without offsets": ({"a": {"dtype": "F32", "shape": []}}, b"", None, "lacks dtype"),
    "an unknown dtype": ({"a": tensor("F33")}, bytes(8), None, "F33"),
    "a dtype that is no text": ({"a": tensor(["F32"])}, bytes(8), None, "dtype"),
    "a negative size": ({"a": tensor(shape=(-2, -1))}, bytes(8), None, "shape"),
    "a size that is true": ({"a": tensor("U8", (True,), (0, 1))}, bytes(1), None, "shape"),
    "a fractional size": ({"a": tensor(shape=(2.0,))}, bytes(8), None, "shape"),
    "too many axes": ({"a": tensor(shape=(1,) * 65 + (2,))}, bytes(8), None, "at most 64"),
    "three offsets": ({"a": tensor(offsets=(0, 4, 8))}, bytes(8), None, "data_offsets"),
    "a negative offset": ({"a": tensor(offsets=(-8, 0))}, bytes(8), None, "data_offsets"),
    "offsets in reverse": ({"a": tensor(offsets=(8, 0))}, bytes(8), None, "spans bytes 8 to 0"),
    "a shape larger than its bytes": ({"a": tensor(shape=(3,))}, bytes(8), None, "takes 12"),
    "a product that overflows": ({"a": tensor(shape=(2**62, 2**62))}, bytes(8), None, "takes"),
    "sizes whose product wraps to 2 in 64 bits": ({"a": tensor(shape=(2**63 - 1, 2**63 - 1))}, bytes(8), None, "takes"),
    "nothing times everything": ({"a": tensor(shape=(0, *[2**62] * 3), offsets=(0, 0))}, b"", None, "memory"),
    "bytes beyond the file": ({"a": tensor(shape=(2**40,), offsets=(0, 2**42))}, bytes(8), None, "holds 8"),
    "two tensors that overlap": ({"a": tensor(), "b": tensor(offsets=(4, 12))}, bytes(12), None, "overlaps"),
    "two tensors in one place": ({"a": tensor(), "b": tensor()}, bytes(8), None, "overlaps"),
    "a gap": ({"a": tensor(), "b": tensor(offsets=(12, 20))}, bytes(20), None, "gap"),
    "a gap before the first": ({"a": tensor(offsets=(4, 12))}, bytes(12), None, "gap"),
    "bytes left over": (GOOD, bytes(9), None, "1 bytes follow"),
    "a file that is cut": (GOOD, bytes(7), None, "truncated"),
    "booleans that are 2": ({"a": tensor("BOOL", (2,), (0, 2))}, b"\x02\x01", None, "BOOL"),
    "metadata that is no text": ({"__metadata__": {"a": 1}}, b"", None, "__metadata__"),
    "metadata that is no map": ({"__metadata__": ["a"]}, b"", None, "__metadata__"),
    "ties that are no JSON": ({"__metadata__": {serialize.TIED_KEY: "{"}}, b"", None, "no valid JSON"),
    "ties that are no map": ({"__metadata__": {serialize.TIED_KEY: "[]"}}, b"", None, "not a map"),
    "a tie to nothing": ({"__metadata__": {serialize.TIED_KEY: '{"b": "c"}'}}, b"", None, "'b' is said to be tied"),
    "a tie over a tensor": (GOOD | {"__metadata__": {serialize.TIED_KEY: '{"a": "a"}'}}, bytes(8), None, "tied"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_or_damaged_file_is_one_error_with_file_and_place(tmp_path, case):
    header, data, length, words = HOSTILE[case]
    path = write_raw(tmp_path / "bad.safetensors", header, data, length)
    with pytest.raises(SerializationError) as caught:
        serialize.load(path)
    message = str(caught.value)
    assert "bad.safetensors" in message
    assert words in message
    assert len(message) < 700


@pytest.mark.parametrize("size", [0, 1, 7])
def test_a_file_too_short_for_anything_is_truncated(tmp_path, size):
    (tmp_path / "x").write_bytes(bytes(size))
    with pytest.raises(SerializationError, match=f"truncated: {size} bytes"):
        serialize.load(tmp_path / "x")


def test_memory_is_bounded_by_the_size_of_the_file(tmp_path):
    path = write_raw(tmp_path / "x", {"a": tensor(shape=(2**33,), offsets=(0, 2**35))}, bytes(64))
    tracemalloc.start()
    try:
        with pytest.raises(SerializationError):
            serialize.load(path)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damage_anywhere_is_noticed_or_changes_values_only(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    serialize.save({"a": np.arange(6, dtype=np.float32), "b": np.ones((2, 2), np.int8)}, folder / "x")
    content = bytearray((folder / "x").read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "x").write_bytes(content)
    try:
        state = serialize.load(folder / "x")
    except SerializationError as error:
        assert str(folder / "x") in str(error)
    else:
        assert sum(array.nbytes for array in state.values()) == 28


def test_a_missing_file_a_directory_and_a_pipe_are_clear_errors(tmp_path):
    with pytest.raises(SerializationError, match="there is no file"):
        serialize.load(tmp_path / "nothing.safetensors")
    with pytest.raises(SerializationError, match="not a regular file"):
        serialize.load(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(SerializationError, match="not a regular file"):
            serialize.load(tmp_path / "pipe")


def test_what_is_loaded_has_numpys_own_dtype_objects(tmp_path):
    serialize.save({"x": np.ones(3, np.float32)}, tmp_path / "x.safetensors")
    assert serialize.load(tmp_path / "x.safetensors")["x"].dtype is np.dtype(np.float32)
