"""Every note that draws carry in a file beside numbers: keys and formats, in one place.

Attributes hold text, arrays stand in a group of their own. Whatever a file holds under these
keys that is not ours is left where it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np

from stanrovi.draws import Draws
from stanrovi.errors import UsageError
from stanrovi.families.axes import Axes, DenseAxes, DiagonalAxes, Frame
from stanrovi.io.json_values import json_attribute, plain
from stanrovi.io.thin_axes import axes_of_arrays, thin_arrays
from stanrovi.modes.basins import Mode, Peak
from stanrovi.target import Array
from stanrovi.vi.facts import FitFacts, MarginalErrors, Root, TracePoint, Verdict, VerdictName
from stanrovi.vi.settings import FamilySettings

GROUP = "fit"
# Attributes that are ours where a file tells of a fit; the first are of no use to a reader.
FOR_PROGRAMS = (
    "parameters", "variables", "verdict", "verdict_reasons", "verdict_cures", "errors", "modes",
    "trace", "axes",
)  # fmt: skip
_FRAME = "axes_"  # names of arrays that hold the axes of a fit begin with this, where they are thin
KEYS = (*FOR_PROGRAMS, "warnings", "settings", "gradients_by_stage", "roots")


@dataclass(frozen=True)
class Notes:
    """What a file tells.

    Attributes
    ----------
    parameters : tuple of str
        Variables that are parameters; empty where it does not tell.
    variables : tuple of str
        All, in the order of the program; empty where it does not tell.
    facts : FitFacts or None
        None where it tells nothing of a fit.
    """

    parameters: tuple[str, ...]
    variables: tuple[str, ...]
    facts: FitFacts | None


def text(draws: Draws) -> dict[str, str]:
    """Attributes that hold text: names of parameters and variables, and facts of the fit."""
    notes = {"variables": json.dumps(list(draws.posterior))}
    if not draws.parameters_assumed:
        notes["parameters"] = json.dumps(list(draws.parameters))
    facts = draws.facts
    if facts is None:
        return notes
    if facts.verdict is not None:
        notes["verdict"] = facts.verdict.name
        notes["verdict_reasons"] = "\n".join(facts.verdict.reasons)
        notes["verdict_cures"] = json.dumps(list(facts.verdict.cures))
    if facts.errors is not None:
        notes["errors"] = json.dumps(error_rows(facts.errors))
    if facts.settings is not None:
        notes["settings"] = json.dumps(asdict(facts.settings))
    return notes | {
        "gradients_by_stage": json.dumps(dict(facts.gradients_by_stage)),
        "warnings": "\n".join(facts.warnings),
        "roots": json.dumps(_root_rows(facts.roots)),
        "modes": json.dumps(mode_rows(facts.modes)),
        "trace": json.dumps([plain(asdict(point)) for point in facts.trace]),
    }


def mode_rows(modes: Sequence[Peak]) -> list[dict[str, Any]]:
    """Modes as JSON values: weight, log_density, mass, mass_se, orbit, position."""
    fields = ("weight", "log_density", "mass", "mass_se", "orbit", "position")
    return [plain({name: getattr(mode, name) for name in fields}) for mode in modes]


def error_rows(errors: MarginalErrors) -> list[dict[str, Any]]:
    """Errors of marginals as JSON values: name, error, se, source."""
    rows = zip(errors.names, errors.error, errors.se, errors.source, strict=True)
    fields = ("name", "error", "se", "source")
    return [plain(dict(zip(fields, row, strict=True))) for row in rows]


def _root_rows(roots: Sequence[Root]) -> list[dict[str, Any]]:
    """Roots as JSON values: name, ruled."""
    return [plain({"name": root.name, "ruled": dict(root.ruled)}) for root in roots]


def arrays(facts: FitFacts) -> dict[str, tuple[tuple[str, ...], Array]]:
    """Arrays with the names of their dimensions: axes of the fit, and of its modes."""
    found: dict[str, tuple[tuple[str, ...], Array]] = {}
    if facts.frame is not None:
        found["axes_center"] = ("coordinate",), facts.frame.center
        thin = thin_arrays(facts.frame.axes, _FRAME)
        found |= thin or {"axes": (("coordinate", "axis"), facts.frame.axes.matrix)}
    widths = [mode.axes for mode in facts.modes if isinstance(mode, Mode)]
    if not widths or len(widths) < len(facts.modes):
        return found
    parts = [thin_arrays(axes, _prefix(k)) for k, axes in enumerate(widths)]
    if all(parts):
        return found | {name: part for own in parts for name, part in own.items()}
    stacked = np.stack([axes.matrix for axes in widths])
    return found | {"mode_axes": (("mode", "coordinate", "mode_axis"), stacked)}


def _prefix(mode: int) -> str:
    """Names of arrays that hold the axes of a mode begin with this, where they are thin."""
    return f"mode_{mode}_"


def read(attrs: Mapping[str, Any], stored: Mapping[str, Array]) -> tuple[Notes, dict[str, Any]]:
    """Read the notes of a file.

    Parameters
    ----------
    attrs : mapping
        Attributes.
    stored : mapping of str to ndarray
        Arrays of the group `GROUP`, float64.

    Returns
    -------
    notes : Notes
    others : dict
        The other attributes.
    """
    parameters = json_attribute(attrs, "parameters", _names) or ()
    variables = json_attribute(attrs, "variables", _names) or ()
    verdict = _verdict(attrs)
    peaks = json_attribute(attrs, "modes", _peaks) or ()
    trace = json_attribute(attrs, "trace", _trace) or ()
    # Older files hold the axes as text.
    frame = _frame(stored) or json_attribute(attrs, "axes", _frame_of_text)
    if verdict is None and not peaks and not trace and frame is None:
        ours = {"parameters", *(["variables"] if variables else [])}
        others = {key: value for key, value in attrs.items() if key not in ours}
        return Notes(parameters, variables, None), others
    facts = FitFacts(
        verdict=verdict,
        modes=_with_widths(peaks, stored),
        trace=trace,
        frame=frame,
        settings=json_attribute(attrs, "settings", _settings),
        warnings=_lines(attrs.get("warnings")),
        gradients_by_stage=json_attribute(attrs, "gradients_by_stage", _counts) or {},
        roots=json_attribute(attrs, "roots", _roots) or (),
        errors=json_attribute(attrs, "errors", _errors),
    )
    others = {key: v for key, v in attrs.items() if key not in KEYS}
    return Notes(parameters, variables, facts), others


def _verdict(attrs: Mapping[str, Any]) -> Verdict | None:
    name = str(attrs.get("verdict", ""))
    if name not in get_args(VerdictName):
        return None
    reasons = _lines(attrs.get("verdict_reasons"))
    cures = json_attribute(attrs, "verdict_cures", _names) or ()
    return Verdict(name, reasons, cures if len(cures) == len(reasons) else ())  # type: ignore[arg-type]


def _lines(value: Any) -> tuple[str, ...]:
    text = value if isinstance(value, str) else ""
    return tuple(line for line in text.splitlines() if line.strip())


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError("no list of names")
    return tuple(value)


def _peaks(value: Any) -> tuple[Peak, ...]:
    peaks = tuple(
        Peak(
            position=_finite(mode["position"]),
            log_density=float(_finite(mode["log_density"])),
            weight=float(_finite(mode["weight"])),
            mass=_number(mode.get("mass")),
            mass_se=_number(mode.get("mass_se")),
            orbit=None if mode.get("orbit") is None else int(float(mode["orbit"])),
        )
        for mode in value
    )
    if {peak.position.ndim for peak in peaks} - {1} or len({len(p.position) for p in peaks}) > 1:
        raise ValueError("positions are vectors of one length")
    return peaks


def _with_widths(peaks: tuple[Peak, ...], stored: Mapping[str, Array]) -> tuple[Peak, ...]:
    """Peaks with the widths that are stored, as far as they are those of a distribution."""
    if not peaks:
        return peaks
    d, widths = len(peaks[0].position), stored.get("mode_axes")
    axes: list[Axes | None]
    if widths is None:
        axes = [axes_of_arrays(stored, _prefix(k), d) for k in range(len(peaks))]
    elif widths.shape == (len(peaks), d, d):
        axes = [DenseAxes(width) for width in widths]
    else:
        return peaks
    sound = [own for own in axes if own is not None and _invertible(own)]
    if len(sound) < len(peaks):
        return peaks
    return tuple(peak.with_axes(width) for peak, width in zip(peaks, sound, strict=True))


def _trace(value: Any) -> tuple[TracePoint, ...]:
    return tuple(
        TracePoint(
            str(point["stage"]),
            int(float(point["n_gradients"])),
            _number(point["elbo"]),
            _number(point["elbo_se"]),
        )
        for point in value
    )


def _settings(value: Any) -> FamilySettings:
    try:
        return FamilySettings(**value)
    except UsageError as error:
        raise ValueError from error


def _roots(value: Any) -> tuple[Root, ...]:
    found = tuple(
        Root(str(root["name"]), {str(name): float(f) for name, f in dict(root["ruled"]).items()})
        for root in value
    )
    if not all(root.ruled and all(f > 0 for f in root.ruled.values()) for root in found):
        raise ValueError("a root rules something, and widths are positive")
    return found


def _errors(value: Any) -> MarginalErrors:
    return MarginalErrors(
        tuple(str(row["name"]) for row in value),
        np.array([_number(row["error"]) for row in value]),
        np.array([_number(row["se"]) for row in value]),
        tuple(str(row["source"]) for row in value),
    )


def _counts(value: Any) -> dict[str, int]:
    return {str(stage): int(n) for stage, n in dict(value).items()}


def _frame(stored: Mapping[str, Array]) -> Frame | None:
    """Axes that are stored as arrays; None where there are none that have an inverse."""
    center = stored.get("axes_center")
    if center is None or center.ndim != 1 or not len(center):
        return None
    axes, matrix = axes_of_arrays(stored, _FRAME, len(center)), stored.get("axes")
    if axes is None and matrix is not None and matrix.shape == (len(center), len(center)):
        axes = DenseAxes(matrix)
    return Frame(center, axes) if axes is not None and _invertible(axes) else None


def _frame_of_text(value: Any) -> Frame:
    center, matrix = (np.array(value[key], dtype=np.float64) for key in ("center", "matrix"))
    if matrix.shape != (len(center), len(center)):
        raise ValueError("centre and matrix differ in size")
    scale = np.diag(matrix)
    thin = len(center) > 0 and (scale > 0).all() and (matrix == np.diag(scale)).all()
    axes: Axes = DiagonalAxes(scale) if thin else DenseAxes(matrix)
    if not len(center) or not _invertible(axes):
        raise ValueError("axes without an inverse")
    return Frame(center, axes)


def _invertible(axes: Axes) -> bool:
    return axes.is_finite() and bool(np.isfinite(axes.log_volume))


def _finite(value: Any) -> Array:
    numbers = np.array(value, dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError("a mode is nowhere")
    return numbers


def _number(value: Any) -> float:
    """Read a number that may be unknown."""
    return float(value) if isinstance(value, (int, float)) else float("nan")
