"""Downloads from a local server: whole, resumed, truncated, corrupted, slow; and nothing at all."""

from __future__ import annotations

import hashlib
import http.server
import threading
import time
from collections.abc import Iterator

import pytest

from lunar_core.errors import DataError
from lunar_data.download import RemoteFile, fetch

DATA = bytes(range(256)) * 400


class Handler(http.server.BaseHTTPRequestHandler):
    seen: list[tuple[str, str | None]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        Handler.seen.append((self.path, wanted))
        kind = self.path.strip("/")
        start = int(wanted.split("=")[1].rstrip("-")) if wanted and kind != "no-ranges" else 0
        body = DATA[start:]
        if kind == "missing":
            self.send_error(404)
            return
        if kind == "corrupt":
            body = b"x" * len(body)
        if kind == "other-size":
            body += b"more"
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        if kind != "endless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            if kind == "truncated":
                self.wfile.write(body[: len(body) // 2])
            elif kind == "slow":
                for k in range(100):
                    self.wfile.write(body[k : k + 1])
                    self.wfile.flush()
                    time.sleep(0.05)
            elif kind == "silent":
                time.sleep(1.5)
            elif kind == "endless":
                for _ in range(10_000):
                    self.wfile.write(b"\0" * 65536)
            else:
                self.wfile.write(body)
        except OSError:
            pass  # the client had enough

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.seen.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def remote(server: str, *kinds: str) -> RemoteFile:
    return RemoteFile("a.bin", len(DATA), hashlib.sha256(DATA).hexdigest(), tuple(f"{server}/{k}" for k in kinds))


def test_a_file_is_fetched_once_with_progress(server, tmp_path):
    told = []
    path = fetch(remote(server, "good"), tmp_path / "new", progress=lambda *what: told.append(what))
    assert path.read_bytes() == DATA
    assert told[0] == ("a.bin", 0, len(DATA)) and told[-1] == ("a.bin", len(DATA), len(DATA))
    assert fetch(remote(server, "good"), tmp_path / "new") == path
    assert len(Handler.seen) == 1
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.bin", "a.bin.lock"]


@pytest.mark.parametrize("bad", ["missing", "truncated", "corrupt", "other-size", "slow", "silent", "endless"])
def test_a_bad_mirror_is_named_and_the_next_one_serves(server, tmp_path, bad):
    with pytest.raises(DataError, match=rf"/{bad}: ") as caught:
        fetch(remote(server, bad), tmp_path / "alone", patience=0.4)
    assert "put it" in str(caught.value) and str(tmp_path / "alone" / "a.bin") in str(caught.value)
    assert not (tmp_path / "alone" / "a.bin").exists()
    assert fetch(remote(server, bad, "good"), tmp_path / "both", patience=0.4).read_bytes() == DATA


@pytest.mark.parametrize("kind", ["good", "no-ranges"])
def test_an_interrupted_download_goes_on_where_it_stopped(server, tmp_path, kind):
    (tmp_path / "a.bin.part").write_bytes(DATA[:1000])
    assert fetch(remote(server, kind), tmp_path).read_bytes() == DATA
    assert Handler.seen == [(f"/{kind}", "bytes=1000-")]


@pytest.mark.parametrize(
    "part", [b"y" * 1000, DATA + b"y", b"y" * len(DATA)], ids=["wrong", "too long", "whole but wrong"]
)
def test_a_part_that_is_wrong_is_thrown_away(server, tmp_path, part):
    (tmp_path / "a.bin.part").write_bytes(part)
    assert fetch(remote(server, "good"), tmp_path).read_bytes() == DATA


def test_offline_says_which_file_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("LUNAR_OFFLINE", "1")
    with pytest.raises(DataError, match="LUNAR_OFFLINE") as caught:
        fetch(remote("http://127.0.0.1:1", "good"), tmp_path)
    assert str(tmp_path / "a.bin") in str(caught.value)
    (tmp_path / "a.bin").write_bytes(DATA)
    assert fetch(remote("http://127.0.0.1:1", "good"), tmp_path).read_bytes() == DATA


def test_a_file_of_another_length_in_the_cache_is_named(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"short")
    with pytest.raises(DataError, match=r"a\.bin: 5 bytes where"):
        fetch(remote("http://127.0.0.1:1", "good"), tmp_path)


def test_only_http_addresses_are_fetched(tmp_path):
    (tmp_path / "secret").write_bytes(DATA)
    file = RemoteFile("a.bin", len(DATA), hashlib.sha256(DATA).hexdigest(), (f"file://{tmp_path}/secret",))
    with pytest.raises(DataError, match="only http"):
        fetch(file, tmp_path)


def test_many_at_once_fetch_one_file_once(server, tmp_path):
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: results.append(fetch(remote(server, "good"), tmp_path).read_bytes()))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [DATA] * 6 and len(Handler.seen) == 1
