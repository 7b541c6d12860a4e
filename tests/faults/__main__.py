"""Strikes a whole set-up on three brokers, under load, and lets the auditor judge.

Each fault gets a set-up of its own (three Kafka nodes, a PostgreSQL, two instances of every role, an SMTP sink) and
one run of load, in which it is struck --rounds times. With --together the faults take turns in one run.
"""

import argparse
import json
import re
import sys
import time
from pathlib import Path

import day
import scale
import verdict
from fleet import Fleet
from servers import free_ports, need
from strikes import FAULTS

COLUMNS = "{:<13} {:>6} {:>7} {:>8} {:>5} {:>10} {:>9} {:>7} {:>8} {:>9} {:>7}  {}"


def now():
    return int(time.time() * 1000)


def run(names, options):
    """One set-up, one load, these strikes one after the other; returns the row and what is wrong."""
    faults = [FAULTS[name] for name in names]
    fleet = Fleet(options, any(fault.proxied for fault in faults))
    keep = True
    try:
        fleet.start()
        fleet.begin_load(options.rate)
        time.sleep(options.warm_up)
        strikes = []
        for number, name in enumerate(names):
            struck = now()
            FAULTS[name].strike(fleet, number)
            strikes.append((name, struck, now()))
            print(f"  {name} {number + 1} of {len(names)}: {(now() - struck) / 1000:.1f} s", file=sys.stderr)
            time.sleep(FAULTS[name].calm)
            fleet.check()
        time.sleep(options.seconds)
        load = json.loads(fleet.load.finish())
        fleet.settle(load["acknowledged"])
        fleet.stop()
        row = judge(fleet, faults, strikes, load)
        keep = bool(row["wrong"]) or options.keep
        return row
    finally:
        fleet.clean_up(keep)


def judge(fleet, faults, strikes, load):
    bounds = [None if fleet.options.untimed else fault.late_max for fault in faults]
    report = verdict.audit(fleet, None if None in bounds else max(bounds, default=1))
    times = verdict.Times(verdict.lines(fleet.mails), verdict.lines(fleet.acknowledged))
    wrong = [*report["objections"], *fleet.complaints]
    recovered = verdict.recoveries(times, strikes)
    for name, took in recovered.items():
        bound = None if fleet.options.untimed else FAULTS[name].recovery_max
        if bound is not None and took > bound:
            wrong.append(f"{name}: as ever only {took:.1f} s after its return (inf: not before the next strike)")
    for count in ("changed", "unsettled"):
        if load[count]:
            wrong.append(f"{load[count]} answers {count}")
    if report.get("dead"):
        wrong.append(f"{report['dead']} dead letters")
    return {
        "rounds": len(strikes), "orders": report.get("orders", 0), "commands": load["commands"], "refused": load["refused"],
        "late": report.get("late_ms_max", -1) / 1000, "p99": report.get("late_ms_p99", -1) / 1000, "wait": times.worst_wait(), "gap": times.worst_gap(),
        "recovery": max(recovered.values(), default=0), "recoveries": recovered,
        "repeats": f"{report.get('repeats')}/{report.get('repeats_counted')}", "wrong": wrong,
    }


def kinds(wrong):
    """The first of each kind of objection, with how many there are; numbers do not make another kind."""
    first, counts = {}, {}
    for text in wrong:
        kind = re.sub(r"[0-9]+", "#", text)[:60]
        first.setdefault(kind, text)
        counts[kind] = counts.get(kind, 0) + 1
    return {first[kind]: count for kind, count in counts.items()}


def main():
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10, help="strikes of each fault (10)")
    parser.add_argument("--only", default=",".join(FAULTS), help="faults, with commas: " + ", ".join(FAULTS))
    parser.add_argument("--together", action="store_true", help="one run in which the faults take turns")
    parser.add_argument("--rate", type=float, default=200, help="orders per second (200)")
    parser.add_argument("--warm-up", type=float, default=20, help="load before the first strike: brokers compile (20)")
    parser.add_argument("--seconds", type=float, default=10, help="load after the last strike (10)")
    parser.add_argument("--instances", type=int, default=2, help="instances of each role (2)")
    parser.add_argument("--binary", type=Path, default=Path("target/release/encargo"), help="the binary under test")
    parser.add_argument("--port", type=int, help="first of about 60 ports (free ones)")
    parser.add_argument("--untimed", action="store_true", help="judge the promises, not how long things took")
    parser.add_argument("--scale", action="store_true", help="no faults: the throughput of one and of two fulfilments")
    parser.add_argument("--day", type=float, metavar="SECONDS", help="no faults: a day that follows /scale, an hour takes so long")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="of the day, as SVG")
    parser.add_argument("--keep", action="store_true", help="keep the logs of good runs as well")
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    options.port = options.port or free_ports()
    need(options.binary.exists(), f"no {options.binary}: cargo build --release, or --binary FILE")
    if options.scale:
        return scale.main(options)
    if options.day:
        return day.main(options)
    names = options.only.split(",")
    need(not (unknown := set(names) - FAULTS.keys()), f"unknown faults {unknown}; there are {', '.join(FAULTS)}")
    runs = [names * options.rounds] if options.together else [[name] * options.rounds for name in names]
    print(COLUMNS.format("fault", "rounds", "orders", "commands", "503", "late s", "99 % s", "wait s", "gap s", "recovery", "repeats", ""))
    failed = False
    for strikes in runs:
        label = strikes[0] if len(set(strikes)) == 1 else "together"
        try:
            row = run(strikes, options)
        except RuntimeError as error:
            print(f"{label:<13} not judged: {error}", flush=True)
            failed = True
            continue
        figures = [f"{row[name]:.1f}" for name in ("late", "p99", "wait", "gap", "recovery")]
        word = "broken" if row["wrong"] else "kept"
        print(COLUMNS.format(label, row["rounds"], row["orders"], row["commands"], row["refused"], *figures, row["repeats"], word))
        if len(row["recoveries"]) > 1:
            print("    as ever after " + ", ".join(f"{name} {took:.1f} s" for name, took in row["recoveries"].items()))
        for text, times in kinds(row["wrong"]).items():
            print(f"    {text}" + (f" (and {times - 1} alike)" if times > 1 else ""))
        sys.stdout.flush()
        failed |= bool(row["wrong"])
    sys.exit(failed)


if __name__ == "__main__":
    main()
