"""What a cluster costs, and whether the store bears many rows.

    python benchmarks/cluster.py [--rows 10000000] [--jobs 1000] [--workers 1,2,4]

Part one writes made-up rows of the store's schema through `fill`, is stopped after a third, goes on, and looks for gaps
once more; it prints seconds, bytes and the peak memory of each step, which is a process of its own. Part two runs
jobs that do next to nothing in this process and on a Ray cluster of this machine with 1, 2 and 4 workers, and prints
what one costs; the results must be equal.
"""
import argparse, logging, resource, subprocess, sys, tempfile, time
from pathlib import Path

import pandas as pd

from rlvd_nb.core.workers import Place
from rlvd_nb.core.jobs import run_jobs
from rlvd_nb.models.sampling import SamplingParams
from rlvd_nb.models.store import SAMPLE_COLUMNS, fill, missing

SAMPLES, BATCH, TEXT = 256, 8192, "Let us think. " * 8 # responses a prompt, rows a part, what each begins with


class MadeUp:
    "Stands for a sampler: rows without a model, one batch after the other, and no more than `most` of them."
    def __init__(self, most): self.most = most

    def rows(self, requests, params):
        waiting, drawn = [], 0
        for r in requests:
            wanted = range(r.start, r.start + r.count)
            waiting += [(r.prompt, i, f"{TEXT}{r.prompt} {i}", 40, -20., True) for i in wanted]
            while len(waiting) >= BATCH or (waiting and r is requests[-1]):
                if drawn >= self.most: return
                batch, waiting = waiting[:BATCH], waiting[BATCH:]
                drawn += len(batch)
                yield pd.DataFrame(batch, columns=SAMPLE_COLUMNS)


def prompts(rows): return [f"question {i}: what is {i} + {i}?" for i in range(-(-rows // SAMPLES))]


def step(what, folder, rows):
    "One step, in a process of its own; seconds, peak memory, what it found."
    start = time.perf_counter()
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if what == "count": found = f"{sum(count for *_, count in missing(folder, prompts(rows), SAMPLES))} missing"
    else:
        most = rows // 3 if what == "write a third" else rows
        fill(folder, prompts(rows), SAMPLES, SamplingParams(), lambda: MadeUp(most), what)
        found = f"{sum(1 for _ in folder.glob('*.parquet'))} parts"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = sum(path.stat().st_size for path in folder.glob("*.parquet"))
    print(f"{what:14} {time.perf_counter() - start:8.1f} s   peak {peak / 1024:6.0f} MB (at start {base / 1024:.0f})"
          f"   {size / 1e6:7.0f} MB in {found}", flush=True)


def store(rows):
    "Part one."
    print(f"{rows} rows of {SAMPLES} to {len(prompts(rows))} prompts")
    with tempfile.TemporaryDirectory() as folder:
        for what in ("write a third", "go on", "count"):
            given = ["--step", what, "--folder", folder, "--rows", str(rows)]
            subprocess.run([sys.executable, __file__, *given], check=True)


def work(number):
    "A job that is next to nothing: what it takes is what a job costs."
    return sum(i * i for i in range(number))


def timed(place, given, label):
    "Results of jobs, and seconds."
    start = time.perf_counter()
    return run_jobs(work, given, {}, place, label), time.perf_counter() - start


def jobs(count, workers):
    "Part two."
    import ray
    given = {number: number for number in range(count)}
    here, alone = timed(Place("here"), given, "here")
    print(f"{count} jobs here: {1000 * alone / count:.2f} ms a job")
    for number in workers:
        ray.init("local", num_cpus=number, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        place = Place("ray", number)
        for _ in range(2): _, begin = timed(place, {n: 0 for n in range(number)}, "starting")  # the second time counts
        found, taken = timed(place, given, f"ray, {number}")
        ray.shutdown()
        print(f"ray, workers {number}: {begin:.1f} s to start them, {1000 * (taken - begin) / count:.1f} ms a job;"
              f" results {'equal' if found == here else 'DIFFER'}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--step")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.step: step(given.step, given.folder, given.rows)
    else:
        store(given.rows)
        jobs(given.jobs, [int(each) for each in given.workers.split(",")])
