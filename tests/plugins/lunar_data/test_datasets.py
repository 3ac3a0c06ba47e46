"""Readers of published and common formats: what they give, and what hostile files do."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import lunar_core as lc
from lunar_core.errors import DataError
from lunar_data.cifar import CIFAR10, CIFAR100
from lunar_data.coco import COCO, decode_rle
from lunar_data.hub import WebDataset
from lunar_data.images import ImageFolder
from lunar_data.pickles import read_plain_pickle
from lunar_data.tables import CSV, NPZ
from lunar_data.text import TextFile, TokenFile, TranslationPairs, write_tokens
from lunar_data.tokenizers import ByteTokenizer, CharTokenizer


def batch(rng: np.random.Generator, n: int = 5) -> tuple[np.ndarray, list[int]]:
    return rng.integers(0, 256, (n, 3072)).astype(np.uint8), rng.integers(0, 10, n).tolist()


@pytest.mark.parametrize("protocol", range(5))
def test_cifar_s_two_forms_hold_the_same_examples(tmp_path, protocol):
    rng = np.random.default_rng(0)
    for name in ("cifar-10-batches-py", "cifar-10-batches-bin"):
        (tmp_path / name).mkdir()
    rows, labels = batch(rng)
    data = {b"data": rows, b"labels": labels, b"batch_label": b"testing batch 1 of 1", b"filenames": [b"a.png"] * 5}
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps(data, protocol))
    binary = np.concatenate([np.array(labels, np.uint8)[:, None], rows], axis=1).tobytes()
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(binary)
    for form in ("python", "binary"):
        x, y = CIFAR10(train=False, form=form, scale=False, folder=str(tmp_path)).arrays()
        np.testing.assert_array_equal(x, rows.reshape(-1, 3, 32, 32))
        assert y.tolist() == labels


def test_cifar_100_comes_out_of_its_archive(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (4, 3072)).astype(np.uint8)
    records = np.concatenate([np.array([[1, 7], [2, 8], [19, 99], [0, 0]], np.uint8), rows], axis=1).tobytes()
    with tarfile.open(tmp_path / "cifar-100-binary.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("cifar-100-binary/test.bin")
        info.size = len(records)
        tar.addfile(info, io.BytesIO(records))
    options = {"train": False, "folder": str(tmp_path), "download": False}
    assert CIFAR100(**options).arrays()[1].tolist() == [7, 8, 99, 0]
    coarse = CIFAR100(coarse=True, **options)
    assert coarse.arrays()[1].tolist() == [1, 2, 19, 0] and coarse.n_classes == 20


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_calls_something_is_refused_and_nothing_runs(protocol, capsys):
    with pytest.raises(DataError, match="evil, byte [0-9]+: .*(refused|not carried out)"):
        read_plain_pickle(pickle.dumps({"data": Evil()}, protocol), "evil")
    assert capsys.readouterr().out == ""


def test_every_cut_and_every_changed_byte_of_a_pickle_is_read_or_one_error():
    whole = pickle.dumps({b"data": np.arange(12, dtype=np.uint8).reshape(3, 4), b"labels": [1, 2, 3]}, 2)
    for cut in range(len(whole)):
        with pytest.raises(DataError, match="byte"):
            read_plain_pickle(whole[:cut], "cut")
    for place in range(len(whole)):
        for value in (0, 255, whole[place] ^ 1, ord("R"), ord("c"), ord("2")):
            with contextlib.suppress(DataError):
                read_plain_pickle(whole[:place] + bytes([value]) + whole[place + 1 :], "changed")


def test_csv_columns_classes_and_mistakes(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,kind\n1,2.5,cat\n3,,dog\n-1,4,cat\n")
    data = CSV(str(path))
    x, y = data.arrays()
    np.testing.assert_array_equal(x, np.array([[1, 2.5], [3, np.nan], [-1, 4]], np.float32))
    assert y.tolist() == [0, 1, 0] and data.classes == ("cat", "dog")
    x, y = CSV(str(path), target="a", columns=("b",), regression=True, limit=2).arrays()
    assert (x.shape, y.tolist()) == ((2, 1), [1.0, 3.0])
    for text, problem in {
        "a,b\n1\n": "line 2: 1 fields, expected 2",
        "a,b\nx,1\n": "line 2, column 'a': 'x' is no number",
        "a,a\n1,2\n": "same name",
        "": "empty",
        "a,b\n1,\0\n": "zero byte",
    }.items():
        path.write_text(text)
        with pytest.raises(DataError, match=problem) as caught:
            CSV(str(path)).arrays()
        assert "t.csv" in str(caught.value)
    path.write_bytes(b"a,b\n1,\xff\n")
    with pytest.raises(DataError, match="line 2, byte 2: not UTF-8"):
        CSV(str(path)).arrays()


def test_npz_is_read_without_pickles_and_within_bounds(tmp_path):
    path = tmp_path / "t.npz"
    x, y = np.arange(12.0).reshape(3, 4), np.arange(3)
    np.savez(path, x=np.asfortranarray(x), y=y)
    got = NPZ(str(path)).arrays()
    np.testing.assert_array_equal(got[0], x)
    np.testing.assert_array_equal(got[1], y)
    np.savez_compressed(path, x=x, y=np.array([Evil(), 1, 2], object))
    with pytest.raises(DataError, match="array 'y': an array of objects"):
        NPZ(str(path)).arrays()
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(DataError, match="8000000000000 bytes"):
        NPZ(str(path)).arrays()
    path.write_bytes(b"PK\x03\x04nonsense")
    with pytest.raises(DataError, match=r"t\.npz: no NPZ archive"):
        NPZ(str(path)).arrays()


def test_text_is_cut_into_windows_one_token_apart(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("abcdefghij")
    data = TextFile(str(path), CharTokenizer("abcdefghij"), length=3)
    assert [row.tolist() for row in data[:][0]] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert data[:][1].tolist()[-1] == [7, 8, 9]
    assert len(TextFile(str(path), ByteTokenizer(), length=3, stride=1)) == 7
    assert TextFile(str(path), CharTokenizer("abcdefghij"), length=3, part=(0.6, 1.0))[0][0].tolist() == [6, 7, 8]
    with pytest.raises(DataError, match="10 tokens"):
        len(TextFile(str(path), ByteTokenizer(), length=10))
    path.write_bytes(b"ab\xff")
    with pytest.raises(DataError, match="byte 2: not UTF-8"):
        len(TextFile(str(path), ByteTokenizer(), length=1))


def test_token_files_stay_on_disk_and_are_checked(tmp_path):
    path = tmp_path / "t.tok"
    tokens = np.random.default_rng(0).integers(0, 50_000, 10_001)
    assert write_tokens(path, np.array_split(tokens, 7), 50_257) == 10_001
    data = TokenFile(str(path), length=100)
    x, y = data[[0, 5, -1]]
    assert len(data) == 100 and isinstance(data._tokens(), np.memmap)
    np.testing.assert_array_equal(x[1], tokens[500:600])
    np.testing.assert_array_equal(y[2], tokens[9901:10_001])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(data))[5][0], tokens[500:600])
    tokens.astype("<u2").tofile(tmp_path / "train.bin")
    np.testing.assert_array_equal(TokenFile(str(tmp_path / "train.bin"), length=100, dtype="uint16")[5][0], x[1])
    whole = path.read_bytes()
    for data_, problem in ((whole[:-1], "truncated"), (whole + b"1", "too long"), (b"x" * 40, "no token file")):
        path.write_bytes(data_)
        with pytest.raises(DataError, match=problem):
            len(TokenFile(str(path)))
    with pytest.raises(DataError, match="is not below 5"):
        write_tokens(path, [np.array([5])], 5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.tok", "train.bin"]


def test_translation_pairs_from_one_file_or_two(tmp_path):
    (tmp_path / "p.tsv").write_text("go\tva\tx\nstop now\thalte\n")
    pairs = TranslationPairs(str(tmp_path / "p.tsv"), ByteTokenizer(), ByteTokenizer())
    assert [bytes(part.tolist()) for part in pairs[1]] == [b"stop now", b"halte"]
    (tmp_path / "a").write_text("go\nstop\n")
    (tmp_path / "b").write_text("va\n")
    with pytest.raises(DataError, match="do not belong together"):
        len(TranslationPairs(str(tmp_path / "a"), ByteTokenizer(), ByteTokenizer(), target_path=str(tmp_path / "b")))
    with pytest.raises(DataError, match="line 1: no tab"):
        len(TranslationPairs(str(tmp_path / "a"), ByteTokenizer(), ByteTokenizer()))


def save(path: Path, image: np.ndarray) -> None:
    module = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    module.fromarray(image).save(path)


def test_image_folders_give_classes_by_name_and_name_a_bad_file(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    save(tmp_path / "dog" / "b.png", image)
    save(tmp_path / "cat" / "deep" / "a.png", image[:, :, 0])
    data = ImageFolder(str(tmp_path))
    assert data.classes == ("cat", "dog") and data.labels().tolist() == [0, 1]
    np.testing.assert_array_equal(data[1][0], image.transpose(2, 0, 1))
    assert data[:][0].shape == (2, 3, 6, 5)
    whole = (tmp_path / "dog" / "b.png").read_bytes()
    (tmp_path / "dog" / "b.png").write_bytes(whole[:60])
    with pytest.raises(DataError, match=r"b\.png: no image, truncated or corrupt"):
        data[1]
    with pytest.raises(DataError, match="5 x 6 pixels, at most 10"):
        ImageFolder(str(tmp_path), max_pixels=10)[0]
    with pytest.raises(DataError, match="no folder in it"):
        len(ImageFolder(str(tmp_path / "dog")))


def coco(tmp_path: Path, **changes: object) -> Path:
    save(tmp_path / "1.png", np.zeros((4, 6, 3), np.uint8))
    root = {
        "images": [{"id": 7, "file_name": "1.png", "width": 6, "height": 4}],
        "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [1, 1, 3, 2], "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]},
            {
                "image_id": 7,
                "category_id": 1,
                "bbox": [0, 0, 1, 4],
                "segmentation": {"size": [4, 6], "counts": [0, 4, 20]},
            },
        ],
    }
    path = tmp_path / "c.json"
    path.write_text(json.dumps({**root, **changes}))
    return path


def test_coco_gives_boxes_masks_and_classes(tmp_path):
    path = str(coco(tmp_path))
    data = COCO(path, str(tmp_path))
    image, boxes, labels = data[0]
    assert image.shape == (3, 4, 6) and labels.tolist() == [1, 0] and data.classes == ("cat", "dog")
    assert boxes.tolist() == [[1, 1, 4, 3], [0, 0, 1, 4]]
    masks = COCO(path, str(tmp_path), task="instances")[0][2]
    expected = np.zeros((2, 4, 6))
    expected[1, :, 0] = 1
    np.testing.assert_array_equal(masks[1], expected[1])
    assert masks[0, 1:3, 1:4].all()
    mask = COCO(path, str(tmp_path), task="semantic")[0][1]
    assert mask[0, 0] == 1 and mask[2, 2] == 2 and mask[3, 5] == 0


def test_compressed_run_lengths_are_those_of_pycocotools():
    tools = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        mask = (rng.random((37, 29)) < share).astype(np.uint8)
        np.testing.assert_array_equal(decode_rle(tools.encode(np.asfortranarray(mask)), (37, 29)), mask)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"images": 3}, "'images' is no list"),
        ({"images": [{"id": 7}]}, r"images\[0\]: 'file_name'"),
        ({"images": [{"id": 7, "file_name": "../x", "width": 6, "height": 4}]}, "leads out"),
        ({"images": [{"id": 7, "file_name": "x", "width": 10**9, "height": 10**9}]}, "pixels"),
        ({"annotations": [{"image_id": 8, "category_id": 3, "bbox": [0, 0, 1, 1]}]}, "unknown"),
        ({"annotations": [{"image_id": 7, "category_id": 3, "bbox": [0, 0, 1]}]}, "bbox"),
    ],
    ids=["list", "missing", "path", "huge", "unknown", "box"],
)
def test_a_hostile_coco_file_is_one_error(tmp_path, changes, problem):
    with pytest.raises(DataError, match=problem) as caught:
        COCO(str(coco(tmp_path, **changes)), str(tmp_path))[0]
    assert "c.json" in str(caught.value)


def test_web_datasets_are_indexed_by_their_headers(tmp_path):
    path = tmp_path / "0.tar"
    with tarfile.open(path, "w") as tar:
        for k in range(3):
            for suffix, data in (("txt", f"text {k}".encode()), ("cls", str(k).encode())):
                info = tarfile.TarInfo(f"s/{k:03}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    data = WebDataset((str(path),), ("txt", "cls"))
    assert len(data) == 3 and (str(data[2][0]), int(data[2][1])) == ("text 2", 2)
    with pytest.raises(DataError, match=r"has no \.jpg"):
        len(WebDataset((str(path),)))
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(DataError, match=r"0\.tar"):
        len(WebDataset((str(path),), ("txt", "cls")))


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_the_small_tables_are_scikit_learn_s(name):
    sklearn = pytest.importorskip("sklearn.datasets")
    folder = Path(sklearn.__file__).parent / "data"
    x, y = lc.datasets[name](folder=str(folder)).arrays()
    theirs = getattr(sklearn, f"load_{name}")()
    np.testing.assert_allclose(x, theirs.data, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(y, theirs.target)


@pytest.mark.parametrize(
    "name",
    ["iris", "wine", "breast_cancer", "diabetes", "mnist", "fashion_mnist", "kmnist", "emnist", "cifar10", "cifar100"],
)
def test_published_sets_tell_their_card_without_their_files(name, tmp_path):
    card = lc.datasets[name](folder=str(tmp_path), download=False).card
    assert card.size > 100 and card.source.startswith("http")
    assert all(len(sha) == 64 and size > 0 for _, size, sha in card.files)
    with pytest.raises(DataError, match="put it") as caught:
        lc.datasets[name](folder=str(tmp_path), download=False).arrays()
    assert card.files[0][0] in str(caught.value)
