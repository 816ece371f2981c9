"""The page: bars for what a request costs, curves for latencies, one file without scripts."""
from html import escape

STYLE = """
:root { color-scheme: light dark; --ours: #2563eb; --epoll: #60a5fa; --theirs: #9ca3af; --floor: #d1d5db; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.15rem; }
svg { width: 100%; height: auto; } svg text { font: 13px system-ui, sans-serif; fill: currentColor; }
.note { margin: 0; font: 13px/1.6 ui-monospace, monospace; white-space: pre-wrap; opacity: .75; }
"""
COLOURS = {"sallyport io_uring": "var(--ours)", "sallyport epoll": "var(--epoll)", "envoy": "#b45309",
           "haproxy": "#15803d", "nginx": "#7c3aed"}
WIDTH, ROW, LEFT = 900, 26, 220
QUANTILES = ("p50", "p90", "p99", "p99.9", "p99.99", "max")


def colour(name):
    if name.startswith("floor"):
        return "var(--floor)"
    return COLOURS.get(name, "var(--theirs)")


def page(scenarios, machine):
    """The whole page; `machine` says where the figures come from."""
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>Sallyport: bench</title><style>{STYLE}</style>",
             f"<h1>Sallyport beside its peers</h1><p>{escape(machine)}. Ratios of one run count, not the figures themselves."]
    for scenario in scenarios:
        parts.append(f"<h2>{escape(scenario['title'])}</h2>")
        for group in groups(scenario["rows"]):
            parts.append(bars(group))
        curved = [row for row in scenario["rows"] if "latency_us" in row]
        for share in dict.fromkeys(row.get("share") for row in curved):
            parts.append(curves([row for row in curved if row.get("share") == share], share))
        parts.append(f"<p class=note>{escape(chr(10).join(scenario['notes']))}</p>")
    return "\n".join(parts)


def groups(rows):
    """Rows that were compared with each other: a name that comes again begins the next group."""
    group, found = [], []
    for row in (row for row in rows if "median" in row):
        if group and (row["proxy"] in [r["proxy"] for r in group] or row["ours_divided_by_it"] == 1):
            found.append(group)
            group = []
        group.append(row)
    return found + [group] if group else found


def bars(rows):
    top = max(max(row["rounds"]) for row in rows) or 1
    scale = (WIDTH - LEFT - 170) / top
    out = [f'<svg viewBox="0 0 {WIDTH} {ROW * len(rows) + 4}" role=img>']
    for at, row in enumerate(rows):
        y, width = at * ROW + 4, row["median"] * scale
        low, high = (LEFT + edge(row["rounds"]) * scale for edge in (min, max))
        ratio = row["ours_divided_by_it"]
        tail = f"{row['median']:.1f} {row['unit']}" + (f" · ours ÷ it {ratio:.2f}" if ratio and ratio != 1 else "")
        out.append(f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escape(row["proxy"])}</text>'
                   f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{ROW - 6}" rx="3" fill="{colour(row["proxy"])}"/>'
                   f'<path d="M{low:.1f} {y + 10}H{high:.1f}" stroke="currentColor"/>'
                   f'<text x="{max(LEFT + width, high) + 8:.1f}" y="{y + 15}">{tail}</text>')
    return "".join(out) + "</svg>"


def curves(rows, share):
    """Latency by quantile, both axes by powers of ten."""
    from math import log10
    height, bottom = 300, 30
    top = log10(max(row["latency_us"]["max"] for row in rows) + 1)
    low = log10(max(1, min(row["latency_us"]["p50"] for row in rows))) - 0.2
    x = lambda at: 60 + at * (WIDTH - 220) / (len(QUANTILES) - 1)
    y = lambda micros: (height - bottom) - (log10(max(1, micros)) - low) / (top - low) * (height - bottom - 12)
    out = [f'<svg viewBox="0 0 {WIDTH} {height}" role=img><text x="0" y="12">{"" if share is None else f"{share:.0%} of own capacity, "}µs</text>']
    for at, name in enumerate(QUANTILES):
        out.append(f'<path d="M{x(at):.0f} 16V{height - bottom}" stroke="currentColor" opacity=".15"/>'
                   f'<text x="{x(at):.0f}" y="{height - 10}" text-anchor="middle">{name}</text>')
    for power in range(int(low) + 1, int(top) + 1):
        out.append(f'<path d="M60 {y(10 ** power):.0f}H{WIDTH - 160}" stroke="currentColor" opacity=".15"/>'
                   f'<text x="52" y="{y(10 ** power) + 4:.0f}" text-anchor="end">{10 ** power:,}</text>')
    placed = []
    for row in sorted(rows, key=lambda row: row["latency_us"]["max"]):
        line = " ".join(f"{x(at):.0f},{y(row['latency_us'][name]):.0f}" for at, name in enumerate(QUANTILES))
        label = y(row["latency_us"]["max"]) + 4
        while any(abs(label - other) < 14 for other in placed):
            label -= 14
        placed.append(label)
        name = row.get("proxy", row.get("load", ""))
        out.append(f'<polyline points="{line}" fill="none" stroke-width="2" stroke="{colour(name)}"/>'
                   f'<text x="{WIDTH - 152}" y="{label:.0f}" fill="{colour(name)}">{escape(name)}</text>')
    return "".join(out) + "</svg>"
