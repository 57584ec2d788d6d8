#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts results of `lineup bench` and of peer_torch.py side by side: gpu_report.py OUT.json OUT.svg BENCH.json... [PEERS.json]

Prints a table with the ratio of each peer, writes everything as one JSON, and draws the rates over the batch sizes with the measured
limits as lines. Only what the inputs hold is shown: what was not measured is not there.
"""
import json
import math
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1040, 600, 80, 700, 84, 530
COLOURS = {"resident": "#0072b2", "streamed": "#d55e00", "int8": "#009e73", "fp16": "#cc79a7"}
LIMITS = {  # key of the cells: name, dashes
    "limit_device": ("device read", "7 4"), "limit_multiply": ("multiply peak", "2 4"), "limit_disk": ("disk read", "7 4"),
    "limit_upload": ("upload", "2 3"), "limit_ram": ("RAM read", "7 4"),
}


def mcmp(rate):
    return rate / 1e6


def bench_series(benches):
    """{(where): {batch: cell}} of all benchmark results."""
    series = {}
    for bench in benches:
        for cell in bench.get("searches", []):
            series.setdefault(cell["where"], {})[cell["batch"]] = cell
    return series


def peer_series(peers):
    series = {}
    for cell in peers["searches"] if peers else []:
        series.setdefault(cell["peer"], {})[cell["batch"]] = cell
    return series


def print_table(series, peers, dry):
    batches = sorted({batch for cells in series.values() for batch in cells})
    print("  where      probes         Mcmp/s   of its limit           " + "".join(f"  {name:>28}" for name in peers))
    for where, cells in series.items():
        for batch in batches:
            if batch not in cells:
                continue
            cell = cells[batch]
            fraction = cell["fraction_of_bound"]
            line = f"  {where:<9} {batch:7}  {mcmp(cell['comparisons_per_second']['median']):13.1f}   "
            line += f"{fraction:.2f} of {cell['bound']:<15}" if fraction is not None else " " * 23
            for peer in peers.values():
                other = peer.get(batch) if where == "resident" else None
                text = "-"
                if other and dry:
                    text = f"its recall {other['recall']:.4f}"
                elif other:
                    ratio = cell["comparisons_per_second"]["median"] / other["comparisons_per_second"]
                    text = f"{ratio:.2f} x, its recall {other['recall']:.4f}"
                line += f"  {text:>28}"
            print(line)
    print("  N x: lineup's rate over the peer's on the same rows and machine; lineup's answers are exact, a peer's recall stands beside it.")


class Axes:
    def __init__(self, series, peers):
        cells = [cell for group in series.values() for cell in group.values()]
        rates = [cell["comparisons_per_second"]["median"] for cell in cells]
        rates += [cell["limit_multiply"]["median"] for cell in cells if cell["limit_multiply"]]
        rates += [cell["comparisons_per_second"] for group in peers.values() for cell in group.values()]
        self.batches = sorted({cell["batch"] for cell in cells})
        self.x0, self.x1 = self.batches[0] / 1.4, self.batches[-1] * 1.4
        self.y0 = 10 ** math.floor(math.log10(mcmp(min(rates)) * 0.9))
        self.y1 = 10 ** math.ceil(math.log10(mcmp(max(rates)) * 1.1))

    def x(self, probes):
        return LEFT + (RIGHT - LEFT) * math.log(probes / self.x0) / math.log(self.x1 / self.x0)

    def y(self, rate):
        return BOTTOM - (BOTTOM - TOP) * math.log(rate / self.y0) / math.log(self.y1 / self.y0)


def text(x, y, string, anchor="start", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{escape(string)}</text>'


def path(points, style):
    line = " ".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
    return f'<path fill="none" clip-path="url(#area)" {style} d="{line}"/>'


def draw_limits(axes, series, keys):
    """A line for each limit, from one cell's: reading limits rise with the probes that share a pass."""
    shares = [c["batch"] / c["passes"] for cells in series.values() for c in cells.values()]
    most = max(shares)
    for where, cells in series.items():
        for key, (name, dashes) in LIMITS.items():
            cell = next((c for c in cells.values() if c.get(key)), None)
            # Those of the device itself are drawn once; of a stream what brings rows there.
            if not cell or (key not in ("limit_disk", "limit_upload") and any(k[0] == name for k in keys)):
                continue
            flat = key == "limit_multiply"
            at_one = mcmp(cell[key]["median"]) / (1 if flat else cell["batch"] / cell["passes"])
            colour = "#333333" if flat else COLOURS[where]
            style = f'stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dashes}"'
            xs = [axes.x0, max(axes.x0, min(axes.x1, most)), axes.x1]
            yield path([(axes.x(x), axes.y(at_one * (1 if flat else min(x, most)))) for x in xs], style)
            keys.append((name, f"limit: {name}" + ("" if flat else f" ({where})"), style))


def draw_rates(axes, name, colour, points, keys):
    style = f'stroke="{colour}" stroke-width="2.4"'
    keys.append((name, name, style))
    yield path([(axes.x(x), axes.y(y)) for x, y in points], style)
    for x, y in points:
        yield f'<circle cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="4" fill="{colour}"/>'
        # Below the points of streamed searches, so that they do not cover the resident ones where both meet.
        below = 19 if colour == COLOURS["streamed"] else -9
        yield text(axes.x(x), axes.y(y) + below, f"{y:.0f}" if y >= 10 else f"{y:.1f}", "middle", f'fill="{colour}" font-size="11"')


def draw_axes(axes):
    decade = axes.y0
    while decade < axes.y1 * 1.01:
        yield path([(LEFT, axes.y(decade)), (RIGHT, axes.y(decade))], 'stroke="#cccccc"')
        yield text(LEFT - 8, axes.y(decade) + 4, f"{decade:g}", "end")
        decade *= 10
    for batch in axes.batches:
        yield path([(axes.x(batch), TOP), (axes.x(batch), BOTTOM)], 'stroke="#dddddd"')
        yield text(axes.x(batch), BOTTOM + 20, str(batch), "middle")
    yield text((LEFT + RIGHT) / 2, BOTTOM + 46, "probes per call (log)", "middle")
    yield f'<g transform="translate(24 {(TOP + BOTTOM) / 2}) rotate(-90)">{text(0, 0, "million comparisons a second (log)", "middle")}</g>'


def draw(bench, series, peers, names):
    axes, keys = Axes(series, peers), []
    gallery, device = bench["gallery"], bench.get("devices") or {}
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
    yield 'font-family="sans-serif" font-size="13">'
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    yield f'<clipPath id="area"><rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}"/></clipPath>'
    yield text(LEFT, 30, f"lineup: exact search of {gallery['templates']} templates of {gallery['dim']} components", more='font-size="18"')
    yield text(LEFT, 52, f"{device.get('name', bench['machine']['cpu'])}, {bench['backend']}, k = {bench['k']}, median of {bench['rounds']} rounds")
    if device.get("software"):
        yield text(LEFT, 71, "A SOFTWARE DEVICE: no GPU was measured", more='fill="#d55e00"')
    yield from draw_axes(axes)
    yield from draw_limits(axes, series, keys)
    for where, cells in series.items():
        points = [(batch, mcmp(cells[batch]["comparisons_per_second"]["median"])) for batch in sorted(cells)]
        yield from draw_rates(axes, f"lineup, {where}", COLOURS[where], points, keys)
    for peer, cells in peers.items():
        points = [(batch, mcmp(cells[batch]["comparisons_per_second"])) for batch in sorted(cells)]
        yield from draw_rates(axes, names[peer], COLOURS[peer], points, keys)
    for row, (_, name, style) in enumerate(keys):
        y = TOP + 12 + 26 * row
        yield f'<path {style} d="M{RIGHT + 16} {y} h36"/>'
        yield text(RIGHT + 60, y + 4, name)
    yield "</svg>"


def main():
    out_json, out_svg, *paths = sys.argv[1:]
    benches, peers = [], None
    for name in paths:
        with open(name, encoding="utf-8") as f:
            result = json.load(f)
        if "lineup" not in result:
            peers = result
        elif result["gate"]["pass"]:
            benches.append(result)
    if not benches:
        sys.exit("no benchmark passed its gate: nothing to report")
    series, others = bench_series(benches), peer_series(peers)
    names = {cell["peer"]: cell["name"] for cell in peers["searches"]} if peers else {}
    dry = bool(peers and peers["dry_run"])
    print_table(series, {names[peer]: cells for peer, cells in others.items()}, dry)
    for name, rate in (peers["ceilings"] if peers else {}).items():
        print(f"  as torch reaches it: {name.replace('_', ' ')} {rate / 1e9:.1f} G")
    with open(out_json, "w", encoding="utf-8") as f:
        json.dump({"lineup": benches, "peers": peers}, f, indent=2)
    with open(out_svg, "w", encoding="utf-8") as f:
        f.writelines(line + "\n" for line in draw(benches[0], series, {} if dry else others, names))


if __name__ == "__main__":
    main()
