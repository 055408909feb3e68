"""Small line plots as SVG text, made by hand: a report needs no script and no library to be read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["COLOURS", "line_plot"]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a00", "#555555")
"""Okabe and Ito's, told apart by colour-blind readers too; a system keeps its own throughout."""

_WIDTH, _HEIGHT = 460, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 26, 28


def line_plot(title: str, series: Mapping[str, Sequence[float]], colours: Mapping[str, str]) -> str:
    """One line a series over frames, from 0 up; nan is a gap. An ``<svg>`` element; empty for nothing to draw."""
    known = [value for values in series.values() for value in values if not math.isnan(value)]
    if not known:
        return ""
    top = _rounded_up(max(known))
    length = max(len(values) for values in series.values())
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def at(frame: int, value: float) -> str:
        x = _LEFT + inner_width * frame / max(1, length - 1)
        return f"{x:.1f},{_TOP + inner_height * (1 - value / top):.1f}"

    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" font-size="11" fill="currentColor">',
        f'<text x="{_LEFT}" y="16" font-weight="600">{escape(title)}</text>',
    ]
    for share in (0, 0.5, 1):
        y = _TOP + inner_height * (1 - share)
        parts.append(
            f'<path d="M{_LEFT},{y:.1f}H{_WIDTH - _RIGHT}" fill="none" stroke="#888" stroke-opacity=".5"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * share:g}</text>'
        )
    parts.append(
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">frame 0</text>'
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 8}" text-anchor="end">{length - 1}</text>'
    )
    for name, values in series.items():
        for run in _runs(values):
            points = [at(frame, values[frame]) for frame in run]
            ways = " ".join(points if len(points) > 1 else [*points, *points])  # one point alone: a dot
            parts.append(
                f'<polyline points="{ways}" fill="none" stroke="{colours[name]}" stroke-width="1.7">'
                f"<title>{escape(name)}</title></polyline>"
            )
    return "".join([*parts, "</svg>"])


def _rounded_up(value: float) -> float:
    """The next of 1, 2, 4, 5, 10 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 10) if step * power >= value * (1 - 1e-9))


def _runs(values: Sequence[float]) -> list[list[int]]:
    """Indices of neighbouring numbers, without the gaps."""
    runs: list[list[int]] = []
    for index, value in enumerate(values):
        if math.isnan(value):
            continue
        if runs and runs[-1][-1] == index - 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return runs
