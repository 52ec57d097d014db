"""Artifacts on the board: only what is whole stays, and room is made only where it may be."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import namedtuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qsdnn_runtime.cache import ArtifactCache, CacheError

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def cache(tmp_path):
    cache = ArtifactCache(tmp_path)
    yield cache
    cache.close()


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(cache: ArtifactCache, content: bytes, chunk_bytes: int = 1 << 20) -> str:
    digest = digest_of(content)
    for offset in range(0, max(len(content), 1), chunk_bytes):
        cache.put(digest, len(content), offset, content[offset : offset + chunk_bytes])
    return digest


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(content=st.binary(max_size=40), chunk_bytes=st.integers(1, 16))
def test_what_was_put_is_laid_out_under_its_name(cache, tmp_path, content, chunk_bytes):
    digest = put(cache, content, chunk_bytes)
    assert cache.missing({digest: len(content)}) == []
    folder = cache.folder()
    cache.lay_out({"weights.bin": {"sha256": digest}}, folder)
    assert (folder / "weights.bin").read_bytes() == content
    shutil.rmtree(folder)


def test_what_is_not_as_it_should_be_is_refused_and_leaves_nothing(cache, tmp_path):
    content = b"weights"
    digest = digest_of(content)
    with pytest.raises(CacheError, match="corrupt"):
        cache.put(digest, 7, 0, b"weightz")
    with pytest.raises(CacheError, match="without a beginning"):
        cache.put(digest, 7, 3, b"ghts")
    cache.put(digest, 7, 0, b"wei")
    with pytest.raises(CacheError, match="not the next chunk"):
        cache.put(digest, 7, 4, b"hts")
    with pytest.raises(CacheError, match="not the next chunk"):
        cache.put(digest, 7, 0, b"too many weights")
    with pytest.raises(CacheError, match="no sha256"):
        cache.put("../../evil", 7, 0, content)
    assert cache.missing({digest: 7}) == [digest]
    assert names(tmp_path / "artifacts") == names(tmp_path / "scratch") == []


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
        cache.put(digest_of(b""), 5 << 20, 0, b"")
    assert names(tmp_path / "scratch") == []


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
    assert len(names(tmp_path / "scratch")) == 1
    first.close()
    second.close()
    ArtifactCache(tmp_path).close()
    assert names(tmp_path / "scratch") == []
