"""Verdigris beside other proxies on the same work, as a Markdown table. `run`, beside this file, brings what it needs."""

import argparse
import sys

import alone
import machine
import same_work
from alone import Bump, Doubled, Scale
from processes import CORES
from stage import OURS, PEERS, Proxy, Stage, on_stage
from workloads import WORKLOADS, Figures, Workload, side_by_side

ALONE = {
    "idle": "memory per idle client connection, KiB",
    "two-workers": "two workers",
    "switch": "latency near a switch",
    "reload": "reload of 2,000 services, one of them changed",
    "reload-all": "reload of 2,000 services, all of them changed",
}
# What became of the fields of requests and answers, by whether the peers are plain.
HEADS = {
    False: "Every proxy adds the same fields to requests and answers as Verdigris does.",
    True: "Verdigris adds its fields to requests and answers; the others X-Forwarded-For, and what they add by themselves.",
}


def main() -> int:
    arguments = _arguments()
    if arguments.list:
        known = {workload.name: workload.title for workload in WORKLOADS} | ALONE
        print("\n".join(f"{name:12} {title}" for name, title in known.items()))
        return 0
    scale = alone.SMOKE if arguments.smoke else alone.QUICK if arguments.quick else alone.WHOLE

    def play(stage: Stage) -> None:
        _print_table(stage, arguments, scale)
        _print_alone(stage, arguments, scale)

    parts = (arguments.binary, arguments.load, arguments.envoy)
    return on_stage("compare", *parts, play, plain_peers=arguments.plain_peers)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benches/compare/run", description=__doc__)
    known = [workload.name for workload in WORKLOADS] + list(ALONE)
    parser.add_argument("--quick", action="store_true", help="short rounds: a first look")
    parser.add_argument("--smoke", action="store_true", help="seconds: does it work? The figures mean nothing")
    parser.add_argument("--only", type=_words(known), default=known, metavar="NAME,…", help="see --list")
    parser.add_argument("--peers", type=_words(PEERS), metavar="NAME,…", help=f"of {', '.join(PEERS)}; all by default")
    parser.add_argument("--plain-peers", action="store_true", help="peers without the fields that Verdigris adds")
    parser.add_argument("--list", action="store_true", help="what can be measured")
    parser.add_argument("--binary", default="", metavar="PATH", help="of Verdigris; the release binary by default")
    parser.add_argument("--load", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--envoy", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peers is None:
        arguments.peers = [peer for peer in PEERS if peer != "envoy" or arguments.envoy]
    return arguments


def _words(known):
    def words(text: str) -> list[str]:
        given = [word for word in text.split(",") if word]
        wrong = [word for word in given if word not in known]
        if wrong:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(wrong)}; known: {', '.join(known)}")
        return given

    return words


def _print_table(stage: Stage, arguments: argparse.Namespace, scale: Scale) -> None:
    names = [OURS, *arguments.peers]
    wanted = [workload for workload in WORKLOADS if workload.name in arguments.only]
    proxies = [Proxy(stage, name) for name in names] if wanted else []
    if not arguments.plain_peers:
        same_work.check(stage, proxies)
    print("\n".join(machine.lines(stage, names)))
    print(f"\nCPU µs per request, one worker, medians of {scale.rounds} interleaved rounds of {scale.seconds} s.")
    print(f"{HEADS[arguments.plain_peers]}\n")
    print("| | " + " | ".join(names) + " | ratio to the better of HAProxy and nginx | target |")
    print("|---" * (len(names) + 3) + "|")
    for workload in wanted:
        figures = side_by_side(stage, workload, proxies, scale.rounds, scale.seconds, warm=scale.warm)
        print(_row(workload, figures, names), flush=True)
        for name in (name for name, failed in figures.failed.items() if failed):
            print(f"{workload.name}: {name} failed {figures.failed[name]} times", file=sys.stderr)
    for proxy in proxies:
        proxy.end()
    if "idle" in arguments.only:
        kib = {name: alone.idle_kib(stage, name, scale) for name in names}
        cells = " | ".join(f"{kib[name]:.1f}" for name in names)
        print(f"| {ALONE['idle']} ({scale.idle:,}) | {cells} | | ≤ 4 KiB |", flush=True)


def _row(workload: Workload, figures: Figures, names: list[str]) -> str:
    cells = " | ".join(f"{figures.micros[name]:.1f}" for name in names)
    ratio = "" if figures.ratio is None else f"{figures.ratio:.2f}"
    target = f"≤ {workload.target}"
    if workload.beside:
        target += f" of {workload.beside}"
        if workload.beside in figures.ratios:
            ratio += f"; of {workload.beside} {figures.ratios[workload.beside]:.2f}"
    return f"| {workload.title} | {cells} | {ratio} | {target} |"


def _print_alone(stage: Stage, arguments: argparse.Namespace, scale: Scale) -> None:
    print()
    if "two-workers" in arguments.only:
        _print_two_workers(alone.two_workers(stage, OURS, scale))
    if "switch" in arguments.only:
        _print_bump(f"{scale.switches} switches", alone.switches(stage, scale), "p99 near ≤ 1.1 × far")
    for name, all_services in (("reload", False), ("reload-all", True)):
        if name in arguments.only:
            changed = "all changed" if all_services else "one changed"
            title = f"{scale.reloads} reloads of {scale.services:,} services × 4 endpoints, {changed}"
            _print_bump(title, alone.reloads(stage, scale, all_services=all_services), "≤ 100 ms, p99 near ≤ far + 1 ms")


def _print_two_workers(doubled: Doubled) -> None:
    (one, two), (cost_of_one, cost_of_two) = doubled.rates, doubled.micros
    spread = " and ".join(map(str, doubled.spread))
    print(
        f"* Two workers: {two / one:.2f} × the requests per second of one ({one:,.0f} and {two:,.0f}) on {len(CORES)} cores that "
        f"load and origin share; CPU per request {cost_of_one:.1f} and {cost_of_two:.1f} µs; of 64 connections {spread} "
        "on each. Target: ≥ 1.8 ×, spread evenly.",
        flush=True,
    )


def _print_bump(title: str, bump: Bump, target: str) -> None:
    took = sorted(bump.took)
    near, far = bump.near, bump.far
    print(
        f"* {title}: median {took[len(took) // 2]:.1f} ms, longest {took[-1]:.1f} ms; under 1,000 requests a second p99 "
        f"{near['p99'] / 1e3:.2f} ms near ({near['count']:,} requests), {far['p99'] / 1e3:.2f} ms far; longest "
        f"{near['max'] / 1e3:.2f} and {far['max'] / 1e3:.2f} ms; {bump.failed} of {bump.done + bump.failed:,} failed. "
        f"Target: {target}.",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
