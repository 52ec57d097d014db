"""Debian roots for arm64, built on this machine and kept in the user's cache folder.

``python -m tests.integration.arm64.root bookworm`` builds one and prints where it is. Emulation and
mounts are those of a mount namespace that ends with the build: nothing is left mounted on this
machine, and a build that was killed leaves but a folder, which the next one removes.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_cache_path

HERE = Path(__file__).parent
INSTALL = HERE.parents[2] / ".ci" / "debian"
USER = "board"
# Python 3.11 and 3.9.
RELEASES = ("bookworm", "bullseye")
# Commands this machine needs, with their Debian packages.
NEEDED = {
    "apt-get": "apt",
    "mmdebstrap": "mmdebstrap",
    "arch-test": "arch-test",
    "qemu-aarch64-static": "qemu-user-static",
    "update-binfmts": "binfmt-support",
}
OPTIONS = (
    "--mode=root",
    "--architectures=arm64",
    "--variant=minbase",
    "--include=python3,python3-venv,openssh-server,ca-certificates",
    # With a password that is none: sshd lets nobody in whose account is locked.
    f'--customize-hook=chroot "$1" useradd --create-home --shell /bin/sh --password "*" {USER}',
)


class RootError(Exception):
    """There can be no arm64 root on this machine; the message says why."""


def cache_folder() -> Path:
    """Where roots and running boards are."""
    return user_cache_path("qsdnn") / "arm64"


def debian_root(release: str) -> Path:
    """The root of a release, built when it is not there or was built otherwise.

    Raises:
        RootError: It cannot be built here.
    """
    if release not in RELEASES:
        raise RootError(f"no release '{release}': there are {', '.join(RELEASES)}")
    _prepare_host()
    root = cache_folder() / release
    built_as = root.with_suffix(".json")
    recipe = json.dumps([release, OPTIONS])
    with locked(cache_folder() / "lock"):
        if root.is_dir() and built_as.is_file() and built_as.read_text() == recipe:
            return root
        part = root.with_suffix(".part")
        for left in (part, root):
            remove(left)
        source = f"deb {_mirror()} {release} main"
        command = apart(["mmdebstrap", *OPTIONS, release, str(part), source])
        if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
            raise RootError(f"Debian {release} for arm64 cannot be built: see above")
        part.rename(root)
        built_as.write_text(recipe)
    return root


def apart(command: Sequence[str]) -> list[str]:
    """A command with mounts and processes of its own, which end with it and with this process."""
    ending = ["setpriv", "--pdeathsig", "KILL"]
    space = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    return [*ending, *space, str(HERE / "emulate.sh"), *command]


def remove(folder: Path) -> None:
    """Removes a folder, and never what is mounted in it.

    Raises:
        RootError: Something is.
    """
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    inside = [mount for mount in mounts if Path(mount).is_relative_to(folder)]
    if inside:
        raise RootError(f"mounted in a folder that was to be removed: {', '.join(inside)}")
    subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits until no other process is in here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _prepare_host() -> None:
    """Has what is missing here installed.

    Raises:
        RootError: It cannot be.
    """
    if os.getuid():
        raise RootError("an emulated board needs mounts, and so root: sudo make test-arm64")
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    missing = [package for name, package in NEEDED.items() if not shutil.which(name, path=path)]
    if missing and subprocess.run([INSTALL, *missing], stdout=sys.stderr, check=False).returncode:
        raise RootError(f"this machine lacks {', '.join(missing)}, and they cannot be installed")


def _mirror() -> str:
    """The Debian mirror that this machine's apt is told to use.

    Raises:
        RootError: It uses none.
    """
    form = "$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)"
    asked = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    for line in told.splitlines():
        *kind, codename, uri = line.split()
        if kind == ["Debian", "main"] and "-" not in codename:
            return uri
    raise RootError("the apt of this machine has no Debian mirror: apt-get update, or its sources")


def main() -> None:
    """Builds a root and prints where it is."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.integration.arm64.root", description=__doc__
    )
    parser.add_argument("release", choices=RELEASES)
    try:
        print(debian_root(parser.parse_args().release))
    except RootError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
