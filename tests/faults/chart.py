"""A chart as SVG: panels over one axis, in the colours of our pages."""

from dataclasses import dataclass
from html import escape

WIDTH, PANEL, LEFT, RIGHT, TOP, BOTTOM = 640, 150, 52, 78, 30, 40
STYLE = """text{font:12px system-ui,sans-serif;fill:#57534a}.t{font-weight:600;fill:#1f1b16}.g{stroke:#e4ded3}
path{fill:none;stroke-width:2;stroke-linejoin:round}.l0{stroke:#b3261e}.l1{stroke:#1f5fa8;stroke-dasharray:5 3}
.n0{fill:#b3261e}.n1{fill:#1f5fa8}.m{stroke:#57534a;stroke-width:1;stroke-dasharray:2 3}"""


@dataclass
class Panel:
    title: str
    lines: list  # of a name and points
    steps: bool = False
    limit: float | None = None


def svg(x_max, x_title, panels):
    height = len(panels) * PANEL + BOTTOM
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
             f'aria-label="{escape("; ".join(panel.title for panel in panels))}"><style>{STYLE}</style>'
             f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>']
    for number, panel in enumerate(panels):
        parts += drawn(panel, number * PANEL, x_max)
    bottom = len(panels) * PANEL
    for x in range(0, x_max + 1, 3):
        at = LEFT + x / x_max * (WIDTH - LEFT - RIGHT)
        parts.append(f'<text x="{at:.0f}" y="{bottom + 14}" text-anchor="middle">{x}</text>')
    middle = LEFT + (WIDTH - LEFT - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{bottom + 32}" text-anchor="middle">{escape(x_title)}</text></svg>')
    return "\n".join(parts) + "\n"


def drawn(panel, top, x_max):
    highest = max([y for _, points in panel.lines for _, y in points] + [panel.limit or 0, 1])
    step = next(step for power in range(6) for unit in (1, 2, 5) if highest / (step := unit * 10**power) <= 4)
    y_max = -(-highest // step) * step

    def place(x, y):
        return (LEFT + x / x_max * (WIDTH - LEFT - RIGHT), top + PANEL - y / y_max * (PANEL - TOP))

    parts = [f'<text class="t" x="{LEFT}" y="{top + 18}">{escape(panel.title)}</text>']
    for tick in range(int(y_max // step) + 1):
        y = place(0, tick * step)[1]
        parts.append(f'<path class="g" style="stroke-width:1" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
                     f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick * step:,}</text>')
    if panel.limit:
        y = place(0, panel.limit)[1]
        parts.append(f'<path class="m" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
    taken = []
    for number, (name, points) in enumerate(panel.lines):
        path, before = "", None
        for x, y in points:
            (x, y) = place(x, y)
            path += f"M{x:.1f} {y:.1f}" if before is None else f"H{x:.1f}V{y:.1f}" if panel.steps else f"L{x:.1f} {y:.1f}"
            before = y
        parts.append(f'<path class="l{number}" d="{path}"/>')
        at = (before if before is not None else top + PANEL) + 4
        while any(abs(at - other) < 14 for other in taken):
            at -= 14
        taken.append(at)
        parts.append(f'<text class="n{number}" x="{WIDTH - RIGHT + 6}" y="{at:.1f}">{escape(name)}</text>')
    return parts
