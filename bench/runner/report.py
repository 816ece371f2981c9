"""Tables for people, one JSON for machines."""
import sys

COLOUR = sys.stdout.isatty()


def median(values):
    values = sorted(values)
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def bold(text):
    return f"\033[1m{text}\033[0m" if COLOUR else text


class Report:
    """What every scenario found, in order."""

    def __init__(self):
        self.scenarios = []

    def begin(self, name, title):
        self.current = {"scenario": name, "title": title, "rows": [], "notes": []}
        self.scenarios.append(self.current)
        print(f"\n{bold(title)}", flush=True)

    def note(self, text):
        self.current["notes"].append(text)
        print(f"  {text}", flush=True)

    def table(self, first, unit, figures, results):
        """`figures`: proxy to its rounds; `first` is ours, with which the others are compared."""
        medians = {name: median(rounds) for name, rounds in figures.items()}
        for name, value in medians.items():
            rounds = " ".join(f"{v:.1f}" for v in figures[name])
            last = results[name]
            ratio = medians[first] / value if first in medians else None
            words = f"ours is {ratio:.2f} of it" if ratio and name != first else ""
            tail = f"p99 {last.p99:>8}" if last.p99 else ""
            print(f"  {name:<22} {value:8.2f} {unit}  [{rounds}]  errors {last.bad}  {tail}  {words}", flush=True)
            self.current["rows"].append({"proxy": name, "unit": unit, "median": value, "rounds": figures[name],
                                         "errors": last.bad, "p99": last.p99, "ours_divided_by_it": ratio})
        return medians
