"""A network of two: this machine and a board's network namespace, with a cable to pull. Root's."""

from __future__ import annotations

import os
import shutil
import subprocess


class Cable:
    """A network namespace and a virtual cable to it. A context manager.

    Raises:
        PermissionError: None can be made here.
    """

    def __init__(self) -> None:
        number = os.getpid()
        self.inside = ("ip", "netns", "exec", f"qsdnn-{number}")
        self._namespace = f"qsdnn-{number}"
        self._here, self._there = f"qh{number}", f"qb{number}"
        # A network for tests: RFC 2544.
        net = f"198.18.{number % 256}"
        self.address = f"{net}.2"
        try:
            _ip("netns", "add", self._namespace)
            pair = ["type", "veth", "peer", "name", self._there, "netns", self._namespace]
            _ip("link", "add", self._here, *pair)
            _ip("address", "add", f"{net}.1/30", "dev", self._here)
            _ip("link", "set", self._here, "up")
            self._ip_there("address", "add", f"{self.address}/30", "dev", self._there)
            self._ip_there("link", "set", "lo", "up")
            self.plug()
        except (OSError, subprocess.CalledProcessError) as error:
            self.__exit__()
            raise PermissionError(getattr(error, "stderr", "") or str(error)) from error

    def __enter__(self) -> Cable:
        return self

    def __exit__(self, *_: object) -> None:
        if shutil.which("ip"):
            subprocess.run(["ip", "link", "delete", self._here], stderr=subprocess.DEVNULL)
            subprocess.run(["ip", "netns", "delete", self._namespace], stderr=subprocess.DEVNULL)

    def pull(self) -> None:
        """Sets the board's end down: what is sent is lost, and nobody is told."""
        self._ip_there("link", "set", self._there, "down")

    def plug(self) -> None:
        """Sets it up again."""
        self._ip_there("link", "set", self._there, "up")

    def _ip_there(self, *words: str) -> None:
        _ip("-n", self._namespace, *words)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
