# SPDX-License-Identifier: GPL-3.0-or-later
"""Downloads against a server on 127.0.0.1 that cuts, lies, refuses and ignores ranges."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from geo_sam2.errors import CancelledError, DownloadError
from geo_sam2.runtime import model_catalogue
from geo_sam2.runtime.download import download, download_from_any, sha256_of, without_password

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CUT_AT = 300_000


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT under /file; ``behaviour`` says how badly."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = "good"
        self.ranges: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}/file"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""

    def do_GET(self) -> None:
        behaviour = self.server.behaviour
        asked = self.headers.get("Range", "")
        self.server.ranges.append(asked)
        if behaviour.isdigit():
            self.send_error(int(behaviour))
            return
        start = int(asked[len("bytes=") : -1]) if asked and behaviour != "no ranges" else 0
        if start > len(CONTENT) or (start == len(CONTENT) and asked):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = CONTENT[start:]
        self.send_response(206 if asked and behaviour != "no ranges" else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        if behaviour != "no length":
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if behaviour == "cut":
            body = body[:CUT_AT]
        elif behaviour == "nothing":
            body = b""
        elif behaviour == "other":
            body = b"x" * len(body)
        self.wfile.write(body)
        self.close_connection = True


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def part_of(target: Path) -> Path:
    return target.with_name(target.name + ".part")


def test_file_arrives_whole_under_its_name_only(server, tmp_path):
    target = tmp_path / "new folder" / "model.pt"
    seen: list[tuple[int, int]] = []
    assert download(server.url, target, SHA256, on_bytes=lambda *now: seen.append(now)) == target
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["model.pt"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)


def test_cut_connection_is_resumed_where_it_broke(server, tmp_path):
    server.behaviour = "cut"
    assert download(server.url, tmp_path / "f", SHA256).read_bytes() == CONTENT
    assert server.ranges == ["", *(f"bytes={CUT_AT * n}-" for n in range(1, 4))]


def test_what_has_arrived_is_carried_on_by_the_next_call(server, tmp_path):
    target = tmp_path / "f"
    part_of(target).write_bytes(CONTENT[:777])
    download(server.url, target, SHA256)
    assert target.read_bytes() == CONTENT
    assert server.ranges == ["bytes=777-"]


def test_cancel_keeps_the_part(server, tmp_path):
    target = tmp_path / "f"
    asked = iter([False, True])
    with pytest.raises(CancelledError):
        download(server.url, target, SHA256, is_cancelled=lambda: next(asked))
    assert not target.exists()
    assert CONTENT.startswith(part_of(target).read_bytes())
    assert part_of(target).stat().st_size > 0


def test_server_that_ignores_ranges_starts_anew(server, tmp_path):
    server.behaviour = "no ranges"
    target = tmp_path / "f"
    part_of(target).write_bytes(b"y" * 1000)
    assert download(server.url, target, SHA256).read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_server_that_tells_no_length_is_believed_at_the_end(server, tmp_path):
    server.behaviour = "no length"
    assert download(server.url, tmp_path / "f", SHA256).read_bytes() == CONTENT


def test_whole_part_left_by_a_killed_process_is_taken(server, tmp_path):
    target = tmp_path / "f"
    part_of(target).write_bytes(CONTENT)
    assert download(server.url, target, SHA256).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("damage", [b"z" * 1000, CONTENT + b"too long"])
def test_damaged_part_is_fetched_again_from_nothing(server, tmp_path, damage):
    target = tmp_path / "f"
    part_of(target).write_bytes(damage)
    assert download(server.url, target, SHA256).read_bytes() == CONTENT
    assert server.ranges[-1] == ""


def test_wrong_digest_is_refused_and_leaves_nothing(server, tmp_path):
    server.behaviour = "other"
    with pytest.raises(DownloadError, match="is not the file that it should be"):
        download(server.url, tmp_path / "f", SHA256)
    assert list(tmp_path.iterdir()) == []


def test_server_that_sends_nothing_is_given_up_after_three_tries(server, tmp_path):
    server.behaviour = "nothing"
    with pytest.raises(DownloadError, match="breaks again and again"):
        download(server.url, tmp_path / "f", SHA256)
    assert len(server.ranges) == 3


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("401", "password"),
        ("403", "refuses"),
        ("404", "does not exist"),
        ("407", "proxy"),
        ("503", "status 503"),
    ],
)
def test_refusing_server_is_told_by_its_reason(server, tmp_path, status, words):
    server.behaviour = status
    with pytest.raises(DownloadError, match=words) as caught:
        download(server.url, tmp_path / "f", SHA256)
    assert caught.value.hint
    assert not (tmp_path / "f").exists()


def test_unreachable_server_is_told_by_its_name(tmp_path, server):
    closed = f"http://127.0.0.1:{server.server_port}/file"
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 cannot be reached"):
        download(closed, tmp_path / "f", SHA256)


def test_proxy_is_used_when_one_is_given(server, tmp_path):
    """The server plays the proxy: it is asked for another host's file."""
    proxy = f"http://127.0.0.1:{server.server_port}"
    target = tmp_path / "f"
    assert download("http://somewhere.invalid/file", target, SHA256, proxy=proxy).read_bytes() == CONTENT


def test_file_that_is_there_is_not_asked_for(server, tmp_path):
    target = tmp_path / "f"
    target.write_bytes(CONTENT)
    download(server.url, target, SHA256)
    assert server.ranges == []


def test_damaged_file_that_is_there_is_replaced(server, tmp_path):
    target = tmp_path / "f"
    target.write_bytes(b"damaged")
    assert download(server.url, target, SHA256).read_bytes() == CONTENT


def test_file_address_works(tmp_path):
    source = tmp_path / "with space" / "f"
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    assert download(source.as_uri(), tmp_path / "copy", SHA256).read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["ftp://host/file", "data:,hello", "model.pt"])
def test_other_schemes_are_refused(tmp_path, url):
    with pytest.raises(DownloadError, match="not an http, https or file address"):
        download(url, tmp_path / "f", SHA256)


def test_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DownloadError, match="cannot be written"):
        download(server.url, tmp_path / "file" / "f", SHA256)


def test_mirrors_are_tried_in_turn(server, tmp_path):
    bad = (tmp_path / "nothing").as_uri()
    assert download_from_any([bad, server.url], tmp_path / "f", SHA256).read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="cannot be reached"):
        download_from_any([bad, bad], tmp_path / "g", SHA256)
    with pytest.raises(DownloadError, match="No address"):
        download_from_any([], tmp_path / "g", SHA256)


def test_passwords_are_not_shown():
    assert without_password("https://ada:pw@host:8080/a?b=c") == "https://host:8080/a?b=c"


def test_model_comes_from_the_first_mirror_that_has_it(server, tmp_path):
    model = model_catalogue.Model("x", "file", len(CONTENT), SHA256, "x.yaml", "repo")
    mirrors = [(tmp_path / "empty").as_uri(), server.url.rpartition("/")[0]]
    fetched = model_catalogue.fetch(model, tmp_path / "models", mirrors=mirrors)
    assert fetched == tmp_path / "models" / "file"
    assert sha256_of(fetched) == SHA256


def test_model_addresses_are_the_persons_then_metas_then_the_hubs():
    tiny = model_catalogue.by_id("tiny")
    assert tiny.addresses(["https://m.example/sam2"]) == [
        "https://m.example/sam2/sam2.1_hiera_tiny.pt",
        "https://dl.fbaipublicfiles.com/segment_anything_2/092824/sam2.1_hiera_tiny.pt",
        "https://huggingface.co/facebook/sam2.1-hiera-tiny/resolve/main/sam2.1_hiera_tiny.pt",
    ]


def test_model_file_is_recognised_by_its_digest(monkeypatch, tmp_path):
    model = model_catalogue.Model("x", "file", len(CONTENT), SHA256, "x.yaml")
    monkeypatch.setattr(model_catalogue, "OFFICIAL", (model,))
    right, wrong, short = tmp_path / "any name.pt", tmp_path / "wrong", tmp_path / "short"
    right.write_bytes(CONTENT)
    wrong.write_bytes(CONTENT[:-1] + b"?")
    short.write_bytes(b"short")
    assert model_catalogue.recognise(right) == model
    assert model_catalogue.recognise(wrong) is None
    assert model_catalogue.recognise(short) is None
    assert model_catalogue.installed(tmp_path) == []
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "file").write_bytes(CONTENT)
    assert model_catalogue.installed(tmp_path) == [model]
