"""What this processor can do that decides how exact integers are."""

from pathlib import Path


def saturates() -> bool:
    """Whether products of bytes are added up in 16 bits, and lose what does not fit.

    x86-64 without VNNI has no other instruction for it (``vpmaddubsw``): engines' int8 kernels are
    as fast there, and up to 20 dB less exact, which a search under a budget of accuracy measures.
    """
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    flags = {
        word for line in text.splitlines() if line.startswith("flags") for word in line.split()
    }
    return "avx2" in flags and not flags & {"avx512_vnni", "avx_vnni"}
