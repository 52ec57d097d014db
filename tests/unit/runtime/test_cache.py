"""Artifacts on the board: only what is whole stays, and room is made only where it may be."""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from collections import namedtuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qsdnn_runtime.server.cache import ArtifactCache, CacheError

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def cache(tmp_path):
    cache = ArtifactCache(tmp_path)
    yield cache
    cache.close()


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def header(digest: str, size: int, offset: int, **changes):
    chunk = {"offset": offset, "encoding": "raw"}
    return {"sha256": digest, "size_bytes": size, "lasting": True, **chunk, **changes}


def put(cache: ArtifactCache, content: bytes, chunk_bytes: int = 1 << 20, **changes) -> str:
    digest = digest_of(content)
    for offset in range(0, max(len(content), 1), chunk_bytes):
        chunk = content[offset : offset + chunk_bytes]
        if changes.get("encoding") == "zlib":
            chunk = zlib.compress(chunk)
        cache.put(header(digest, len(content), offset, **changes), chunk)
    return digest


def files(root):
    """All that is kept, wherever it is."""
    return [path.name for path in root.rglob("*") if path.is_file() and path.name != "lock"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    content=st.binary(max_size=40),
    chunk_bytes=st.integers(1, 16),
    encoding=st.sampled_from(["raw", "zlib"]),
    lasting=st.booleans(),
)
def test_what_was_put_is_laid_out_under_its_name(cache, content, chunk_bytes, encoding, lasting):
    digest = put(cache, content, chunk_bytes, encoding=encoding, lasting=lasting)
    assert cache.missing({digest: len(content)}) == []
    folder = cache.folder()
    cache.lay_out({"weights.bin": {"sha256": digest}}, folder)
    assert (folder / "weights.bin").read_bytes() == content
    shutil.rmtree(folder)


def test_what_is_not_as_it_should_be_is_refused_and_leaves_nothing(cache, tmp_path):
    content = b"weights"
    digest = digest_of(content)
    with pytest.raises(CacheError, match="corrupt"):
        cache.put(header(digest, 7, 0), b"weightz")
    with pytest.raises(CacheError, match="without a beginning"):
        cache.put(header(digest, 7, 3), b"ghts")
    cache.put(header(digest, 7, 0), b"wei")
    with pytest.raises(CacheError, match="not the next chunk"):
        cache.put(header(digest, 7, 4), b"hts")
    with pytest.raises(CacheError, match="not the next chunk"):
        cache.put(header(digest, 7, 0), b"too many weights")
    with pytest.raises(CacheError, match="no sha256"):
        cache.put(header("../../evil", 7, 0), content)
    for damaged in (b"no zlib", zlib.compress(content)[:-2], zlib.compress(b"weights and more")):
        with pytest.raises(CacheError, match=r"damaged|not the next chunk"):
            cache.put(header(digest, 7, 0, encoding="zlib"), damaged)
    with pytest.raises(CacheError, match="unknown encoding 'rot13'"):
        cache.put(header(digest, 7, 0, encoding="rot13"), content)
    assert cache.missing({digest: 7}) == [digest]
    assert files(tmp_path) == []


def test_what_is_not_lasting_goes_with_the_agent(cache, tmp_path):
    digests = [put(cache, b"an input", lasting=False), put(cache, b" and weights")]
    sizes = {digests[0]: 8, digests[1]: 12}
    assert cache.missing(sizes) == []
    assert cache.read(digests) == b"an input and weights"
    cache.close()
    assert files(tmp_path) == [digests[1]]
    later = ArtifactCache(tmp_path)
    assert later.missing(sizes) == [digests[0]]
    later.close()


def test_a_package_cannot_write_outside_its_folder(cache):
    digest = put(cache, b"x")
    for name in ("../x", "/x", "a/b", "..", ""):
        with pytest.raises(CacheError, match="not a plain file name"):
            cache.lay_out({name: {"sha256": digest}}, cache.folder())
    with pytest.raises(CacheError, match="is not on the board"):
        cache.lay_out({"y": {"sha256": digest_of(b"y")}}, cache.folder())


def test_a_full_disk_is_said_before_anything_is_written(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(1 << 30, 0, 65 << 20))
    with pytest.raises(CacheError, match="disk is full: 65 MB free"):
        cache.put(header(digest_of(b""), 5 << 20, 0), b"")
    assert files(tmp_path) == []


def fill(root):
    """A cache with three artifacts of ten bytes, the first used longest ago."""
    cache = ArtifactCache(root)
    digests = [put(cache, bytes([i]) * 10) for i in range(3)]
    cache.close()
    for age, digest in enumerate(reversed(digests)):
        os.utime(root / "artifacts" / digest, (1e9 - age, 1e9 - age))
    return digests


def test_the_least_recently_used_goes_first_and_never_what_is_in_use(tmp_path):
    oldest, middle, newest = fill(tmp_path)
    cache = ArtifactCache(tmp_path, cap_bytes=25)
    assert cache.missing({oldest: 10}) == []
    new = put(cache, b"0123456789")
    assert names(tmp_path / "artifacts") == sorted([oldest, new])
    assert cache.missing({middle: 10, newest: 10}) == [middle, newest]
    cache.close()


def test_nothing_is_removed_while_another_agent_lives(tmp_path):
    digests = fill(tmp_path)
    other, cache = ArtifactCache(tmp_path), ArtifactCache(tmp_path, cap_bytes=25)
    new = put(cache, b"0123456789")
    assert names(tmp_path / "artifacts") == sorted([*digests, new])
    other.close()
    newer = put(cache, b"9876543210")
    assert names(tmp_path / "artifacts") == sorted([new, newer])
    cache.close()


def test_what_a_killed_agent_left_is_cleared_unless_another_lives(tmp_path):
    first = ArtifactCache(tmp_path)
    (first.folder() / "left").touch()
    second = ArtifactCache(tmp_path)
    assert files(tmp_path) == ["left"]
    first.close()
    second.close()
    ArtifactCache(tmp_path).close()
    assert names(tmp_path / "scratch") == []
