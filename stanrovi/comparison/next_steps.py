"""What to do next after a comparison, from its verdicts and their cures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stanrovi.grading.findings import Findings
from stanrovi.grading.sameness import by_generality
from stanrovi.methods import METHODS

_MOST = 4
_SAMPLER = "sample"  # the method of the draws of `stanrovi sample`


class Step(NamedTuple):
    """One thing to do, and a command or lines of Python that do it; empty where none are known."""

    text: str
    command: str = ""


def next_steps(
    findings: Findings, *, files: Mapping[str, str] | None = None, program: str | None = None
) -> list[Step]:
    """Tell what to do next, the most useful first.

    Parameters
    ----------
    findings : Findings
    files : mapping of str to str, optional
        File of the draws of each run, by name.
    program : str, optional
        What names the model on a command line, with the options that it needs.

    Returns
    -------
    list of Step
        At most four.
    """
    return _Advice(findings, files or {}, program).steps()[:_MOST]


class _Advice:
    """Steps for one comparison."""

    def __init__(self, findings: Findings, files: Mapping[str, str], program: str | None) -> None:
        self._findings = findings
        self._files = files
        self._program = program
        self._reference = findings.reference
        self._passed = findings.usable
        self._failed = [name for name in findings.methods if name not in self._passed]

    def steps(self) -> list[Step]:
        trusted = self._reference.trusted
        if self._passed:
            found = [self._use_fit(), *([] if trusted else self._better_reference())]
        elif trusted:
            found = [self._use_reference(), *self._other_fit()]
        else:
            found = [self._use_nothing(), *self._sample(), *self._other_fit()]
        return [*found, *self._leave_aside(), *self._ungraded()]

    def _use_fit(self) -> Step:
        name, *others = self._passed
        also = f" {told(others)} passed as well." if others else ""
        if self._reference.trusted:
            why = f"they agree with {self._reference.method}."
        else:
            why = (
                f"its own checks and the mode table speak for it. {self._reference.method} is no "
                "reference here and says nothing of it."
            )
        return self._use(name, f"{why}{also}")

    def _use_reference(self) -> Step:
        return self._use(self._reference.method, "they can be trusted, and no fit passed.")

    def _use(self, name: str, why: str) -> Step:
        file = self._files.get(name, "")
        read = f"import stanrovi as sr\ndraws = sr.read_draws({file!r})" if file else ""
        return Step(f"Use the draws of {name}{f' ({file})' if file else ''}: {why}", read)

    def _use_nothing(self) -> Step:
        return Step(
            f"Rely on none of these draws yet: no fit passed, and {self._reference.method} is no "
            "reference here."
        )

    def _better_reference(self) -> list[Step]:
        if self._reference.method == _SAMPLER:
            return [Step(f"For a reference, sample longer: {self._reference.reason}")]
        methods = ",".join(dict.fromkeys(fit.method for fit in self._findings.fits.values()))
        return [
            Step(
                "To grade it against draws that can be trusted, take those of stanrovi sample, "
                "whose chains jump from mode to mode, as the reference.",
                self._command("compare", f"--methods {methods} --reference {_SAMPLER}"),
            )
        ]

    def _sample(self) -> list[Step]:
        if self._reference.method == _SAMPLER:
            return [Step(f"Sample longer: {self._reference.reason}")]
        return [
            Step(
                "Sample: stanrovi sample starts from a fit, jumps between modes, and says whether "
                "its draws can be trusted.",
                self._command("sample", f"--output {_SAMPLER}.nc"),
            )
        ]

    def _other_fit(self) -> list[Step]:
        """Advise a method that was not tried; else the cures of the most general one that was."""
        general = METHODS[-1]
        tried = [fit.method for fit in self._findings.fits.values()]
        if general not in tried:
            text = (
                f"Fit by method {general}, which looks for a family that can hold this posterior."
            )
            return [Step(text, self._command("fit", f"--method {general} --output {general}.nc"))]
        name = by_generality(self._findings, self._failed)[0]
        cures = dict.fromkeys(cure for cure in self._findings.methods[name].verdict.cures if cure)
        return [Step(f"For a fit that passes ({name}): {cure}") for cure in list(cures)[:2]]

    def _leave_aside(self) -> list[Step]:
        """Warn of the fits that did not pass, where there are draws to use instead."""
        if not self._failed or not (self._passed or self._reference.trusted):
            return []
        reasons = [
            f"{name} is {self._findings.methods[name].verdict.name}" for name in self._failed
        ]
        return [Step(f"Do not use the other draws: {told(reasons)}.")]

    def _ungraded(self) -> list[Step]:
        unknown = self._reference.unknown
        if not unknown:
            return []
        which = f"{unknown[0]} and {len(unknown) - 1} more" if len(unknown) > 1 else unknown[0]
        return [
            Step(f"Draw more from {self._reference.method} before you rely on {which}: ungraded.")
        ]

    def _command(self, name: str, options: str) -> str:
        return f"stanrovi {name} {self._program} {options}" if self._program else ""


def told(names: Sequence[str]) -> str:
    """List names in words: ``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
