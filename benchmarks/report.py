"""The results as Markdown: medians and ratios, and what the machine and the software were."""

import os
import statistics
from collections.abc import Sequence

import machine
from peers import roster
from results import QUIET, Result

HEADER = (
    "| preset | trained by | training, s | ratio | whole process, s | ratio | peak memory, MiB "
    "| test accuracy | n |"
)
RULE = "|---|---|--:|--:|--:|--:|--:|--:|--:|"


def table(results: Sequence[Result], peers: Sequence[str]) -> str:
    """One row for each preset and peer; ratios are against Mnistry in float32."""
    rows = [HEADER, RULE]
    for preset in dict.fromkeys(result.settings.preset for result in results):
        of_preset = [result for result in results if result.settings.preset == preset]
        own = [result for result in of_preset if result.settings.peer == roster.OWN]
        for peer in peers:
            of_peer = [result for result in of_preset if result.settings.peer == peer]
            if of_peer:
                rows.append(row(preset, roster.PEERS[peer].title, of_peer, own))
    return "\n".join(rows)


def row(preset: str, title: str, results: Sequence[Result], own: Sequence[Result]) -> str:
    """One peer's row for one preset."""
    training, process = training_seconds(results), process_seconds(results)
    failed = sum(result.error is not None for result in results)
    cells = [
        preset,
        title,
        spread(training),
        ratio(training, training_seconds(own)),
        spread(process),
        ratio(process, process_seconds(own)),
        median([result.peak_memory_mib for result in results if result.trained], ".0f"),
        mean_accuracy(results),
        f"{len(training)}, {failed} failed" if failed else str(len(training)),
    ]
    return f"| {' | '.join(cells)} |"


def training_seconds(results: Sequence[Result]) -> list[float]:
    """The training time of each run that did not fail."""
    return [result.trained.train_seconds for result in results if result.trained]


def process_seconds(results: Sequence[Result]) -> list[float]:
    """The time of the whole process, for each run that did not fail."""
    return [result.process_seconds for result in results if result.trained]


def median(values: Sequence[float], form: str) -> str:
    """The median; a dash where there is nothing to take it of."""
    return format(statistics.median(values), form) if values else "–"


def spread(seconds: Sequence[float]) -> str:
    """The median, and the least and the most beside it where there are several."""
    text = median(seconds, ".1f")
    if len(seconds) > 1:
        text += f" ({min(seconds):.1f}–{max(seconds):.1f})"
    return text


def ratio(values: Sequence[float], own: Sequence[float]) -> str:
    """How many times Mnistry's median a median is."""
    if not values or not own:
        return "–"
    return f"{statistics.median(values) / statistics.median(own):.2f}"


def mean_accuracy(results: Sequence[Result]) -> str:
    """The mean test accuracy, with its deviation where there are several runs."""
    accuracies = [result.trained.test_accuracy * 100 for result in results if result.trained]
    if not accuracies:
        return "–"
    text = f"{statistics.mean(accuracies):.2f}%"
    if len(accuracies) > 1:
        text += f" ± {statistics.stdev(accuracies):.2f}"
    return text


def failures(results: Sequence[Result]) -> list[str]:
    """One line for each training that failed."""
    return [
        f"Failed: {result.settings.preset}, {result.settings.peer}, run {result.settings.run}: "
        f"{result.error}"
        for result in results
        if result.error is not None
    ]


def circumstances(results: Sequence[Result], command: str) -> list[str]:
    """What a reader must know to judge the figures or to repeat them."""
    settings = [result.settings for result in results]
    threads = sorted({each.threads for each in settings})
    epochs = {each.preset: each.epochs for each in settings}
    times = sorted(result.finished for result in results)
    seen = sorted({f"{name} {is_at}" for each in settings for name, is_at in each.versions.items()})
    return [
        f"Hardware: {machine.cpu_model()}, {' and '.join(map(str, threads))} of its "
        f"{os.cpu_count()} cores, a thread on each (Mnistry takes one where a network is too small "
        f"to gain by more); {machine.memory_gib():.0f} GiB; no GPU used.",
        disturbance(results),
        *beside_training(results),
        f"Epochs: {', '.join(f'{preset} {number}' for preset, number in epochs.items())}.",
        f"Versions: {', '.join(seen)}.",
        f"Measured from {times[0]} to {times[-1]}, by `{command}`.",
        "Time and memory are medians (least to most); a ratio is the peer's median over "
        f"that of {roster.PEERS[roster.OWN].title}; accuracy is a mean with its deviation.",
    ]


def disturbance(results: Sequence[Result]) -> str:
    """How much else the machine did, and whether that was too much."""
    most = max(result.others_cores for result in results)
    disturbed = sum(result.was_disturbed for result in results)
    if disturbed == 0:
        return f"The machine was quiet: other processes used at most {most:.2f} of a core."
    return (
        f"DISTURBED: during {disturbed} of {len(results)} trainings, other processes used more "
        f"than {QUIET} of a core (up to {most:.2f}); these figures are not to be relied on."
    )


def beside_training(results: Sequence[Result]) -> list[str]:
    """Where the call that trains took notably longer than its epochs: the process has that time."""
    extra: dict[str, list[float]] = {}
    for result in results:
        if result.trained:
            name = f"{result.settings.preset}, {roster.PEERS[result.settings.peer].title}"
            beside = result.trained.call_seconds - result.trained.train_seconds
            extra.setdefault(name, []).append(beside)
    return [
        f"{name}: the call that trained took {spread(seconds)} s beside its epochs, which count "
        "for the whole process alone."
        for name, seconds in extra.items()
        if max(seconds) > 1
    ]
