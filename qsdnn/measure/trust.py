"""The trust in a latency, in words."""

from __future__ import annotations

from collections.abc import Iterable

from qsdnn.board import Record, Trust


def doubt(record: Record) -> str:
    """The reason why a latency is not to be believed, and what to do; empty when it is stable."""
    if record.trust is Trust.STABLE:
        return ""
    passes = record.context.get("passes", 1)
    tries = f", in each of {passes} tries" if passes > 1 else ""
    if record.trust is Trust.THROTTLED:
        return (
            f"throttled: the board slowed down while this was measured{_heat(record)}{tries}: "
            "cool it, or lower --max-temperature, and repeat the command"
        )
    if record.trust is Trust.DISTURBED:
        what, remedy = _disturbance(record)
        return f"disturbed: {what}{tries}: {remedy}"
    low, high = record.ci95_ms
    reach = max(high - record.latency_ms, record.latency_ms - low) / record.latency_ms
    return (
        f"noisy: its 95 % interval reaches {reach:.1%} from the median{tries}: "
        "end what else runs on the board, and repeat the command"
    )


def _disturbance(record: Record) -> tuple[str, str]:
    """The greatest disturbance of a measurement, and what to do about it."""
    context = record.context
    stolen, others = context.get("steal_share", 0.0), context.get("others_share", 0.0)
    here, waited = context.get("others_here_share", 0.0), context.get("waited_share", 0.0)
    remedy = "end what else runs on the board, and repeat the command"
    if stolen > max(others, here, waited):
        taken = f"its host gave {stolen:.0%} of the processor to other machines"
        return f"{taken} while this was measured", "repeat the command later"
    if here > 2 * others:  # of many cores it was on the one that was busy
        return f"other processes took {here:.0%} of the cores this was measured on", remedy
    if others > 0.01:
        return f"other processes took {others:.0%} of the processor while this was measured", remedy
    runs = f"{len(record.disturbed)} of {len(record.runs_ms)} runs"
    return f"{runs} waited for a processor", remedy


def notes(records: Iterable[Record]) -> list[str]:
    """The notes of boards while these records were measured, each once."""
    return list(dict.fromkeys(note for record in records for note in record.notes))


def _heat(record: Record) -> str:
    """The heat and the speed of the board in words, as far as its sensors tell."""
    context = record.context
    spreads = context.get("during", {})
    ends = [context.get("before", {}), context.get("after", {})]
    hottest = [end["temperature_c"] for end in ends if "temperature_c" in end]
    hottest += [spreads["temperature_c"]["max"]] if "temperature_c" in spreads else []
    slowest = [end["frequency_mhz"] for end in ends[1:] if "frequency_mhz" in end]
    slowest += [spreads["frequency_mhz"]["min"]] if "frequency_mhz" in spreads else []
    words = [f"{max(hottest):.0f} °C"] if hottest else []
    if slowest and "max_frequency_mhz" in ends[1]:
        words.append(f"{min(slowest):.0f} of {ends[1]['max_frequency_mhz']:.0f} MHz")
    return f" ({', '.join(words)})" if words else ""
