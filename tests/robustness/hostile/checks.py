"""What no hostile input may bring about."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from fnmatch import fnmatch

from hostile.case import Case
from hostile.runner import Outcome

DOCUMENTED = (0, 1, 2, 3, 129, 130, 143)
LONGEST = 2000  # characters of a message
TRACES = (
    "Traceback (most recent call last)", "terminate called", "Fatal Python error",
    "Segmentation fault", "failed by a fault of its own", "Exception ignored", "Aborted",
    "core dumped", "Exception in thread",
)  # fmt: skip

# Kinds of fault, as the table counts them.
HANG, CRASH, TRACE = "hangs", "crashes", "stack traces"
HALF, CODE, MESSAGE = "half-written outputs", "wrong exit codes", "unclear messages"
LEFT = "processes left"
KINDS = (HANG, CRASH, TRACE, HALF, CODE, MESSAGE, LEFT)

Fault = tuple[str, str]


def faults(case: Case, outcome: Outcome) -> list[Fault]:
    """Everything that is wrong with what became of a case: kind and words."""
    if outcome.hung:
        return [(HANG, f"had not ended after {outcome.seconds:.0f} s; {_last(outcome.err)}")]
    found = [*_ends(case, outcome), *_traces(outcome), *_outputs(case, outcome)]
    if outcome.left:
        found.append((LEFT, "; ".join(outcome.left)))
    if not found:
        found = [*_messages(case, outcome)]
    if outcome.again is not None:
        again = Case(f"{case.name}, again", case.again, changes=("*",))
        found += [(kind, f"again: {words}") for kind, words in faults(again, outcome.again)]
    return found


def _last(text: str) -> str:
    return text.strip()[-300:]


def _killed(outcome: Outcome) -> bool:
    return signal.SIGKILL in outcome.sent


def _ends(case: Case, outcome: Outcome) -> Iterator[Fault]:
    code = outcome.code
    if code < 0 and -code not in outcome.sent:
        yield CRASH, f"died of {signal.Signals(-code).name}; {_last(outcome.err)}"
    elif code not in case.codes:
        kind = CODE if code in DOCUMENTED or code < 0 else CRASH
        yield kind, f"{code} instead of {case.code}; {_last(outcome.err or outcome.out)}"


def _traces(outcome: Outcome) -> Iterator[Fault]:
    for text in (outcome.out, outcome.err):
        # A worker that was starting finds nobody to read from after a kill -9, and says so.
        if any(trace in text for trace in TRACES) and signal.SIGKILL not in outcome.sent:
            yield TRACE, _last(text)


def _messages(case: Case, outcome: Outcome) -> Iterator[Fault]:
    if case.silent:
        return
    said = outcome.err if outcome.code in (1, 2) else outcome.out + outcome.err
    if outcome.code in (1, 2):
        # Warnings are those of the runs of a benchmark.
        *before, message = re.split("error: |Warning: ", said, flags=re.IGNORECASE)
        if not before:
            yield MESSAGE, f"none begins with Error: {_last(said)!r}"
        if len(message) > LONGEST:
            yield MESSAGE, f"of {len(message)} characters: {message[:200]}"
        assert case.says, f"{case.name} must demand words of the message: {message}"
    elif len(case.codes) > 1:
        return
    if not re.search(case.says, said, re.IGNORECASE | re.DOTALL):
        yield MESSAGE, f"lacks {case.says!r}: {_last(said)!r}"


def _outputs(case: Case, outcome: Outcome) -> Iterator[Fault]:
    before, after = outcome.before, outcome.after
    for name, content in before.items():
        if after.get(name) != content and not _any(name, case.changes):
            yield HALF, f"{name} {'is gone' if name not in after else 'has changed'}"
    new = [name for name in after if name not in before]
    if outcome.code not in (0, 3):
        allowed = (*case.keeps, *(f"{pattern}/*" for pattern in case.keeps if pattern != "out"))
        strays = [name for name in new if not _any(name, allowed)]
        if strays and not _killed(outcome):
            yield HALF, f"left behind: {', '.join(strays[:10])}"
    for name, why in outcome.broken.items():
        yield HALF, f"{name} is not whole: {why}"
    if not _killed(outcome):
        for name in after:
            if re.search(r"(^|/)\.unfinished|\.tmp$", name) and name not in case.files:
                yield HALF, f"left behind: {name}"
        if outcome.scratch:
            yield HALF, f"left among temporary files: {', '.join(outcome.scratch[:10])}"
    for name in case.makes:
        if name not in after:
            yield HALF, f"{name} was not made; {_last(outcome.err)}"


def _any(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)
