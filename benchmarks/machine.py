"""What this machine is. Linux only."""

import os
from pathlib import Path


def cpu_model() -> str:
    """What the processor calls itself."""
    return cpu_info().get("model name", os.uname().machine)


def has_bfloat16() -> bool:
    """Whether the processor computes in bfloat16 itself."""
    info = cpu_info()
    flags = f"{info.get('flags', '')} {info.get('Features', '')}".split()
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)


def cpu_info() -> dict[str, str]:
    """What Linux says about the first core; Arm calls the flags `Features`."""
    first_core = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    lines = (line.partition(":") for line in first_core.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))


def keep_to(number: int) -> None:
    """Keeps this process, and those that it starts, on the first `number` of its cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:number])


def memory_gib() -> float:
    """How much memory there is."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def busy_seconds() -> float:
    """How long the cores that this process may use have worked since boot, added up.

    Time that a hypervisor took from them for others counts as work.
    """
    usable = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    ticks = 0
    for line in Path("/proc/stat").read_text().splitlines():
        name, *counts = line.split()
        if name in usable:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, counts[:8])
            ticks += user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK")
