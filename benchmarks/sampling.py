"""What measuring its machine costs a node: `python -m benchmarks.sampling`.

CPU time of one sample (one a heartbeat) and of one report (one in 30 s), beside the workers that a
slave has, and what that is of a core. A sample may cost 0.5 % of a core at one a second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import psutil

from hpczmq import limits, wire
from hpczmq.messages import Heartbeat, Sample
from hpczmq.nodes.sampler import Sampler

BUDGET_PERCENT = 0.5


def measured(workers: int, times: int) -> dict[str, float]:
    """Milliseconds of CPU of a sample, a report and a heartbeat's way, with so many workers."""
    sleeps = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    started = [subprocess.Popen(sleeps, stdin=subprocess.PIPE) for _ in range(workers)]
    try:
        sampler, pids = Sampler(), [process.pid for process in started]
        sample_ms = _cpu_ms(lambda: sampler.sample(pids), times)
        report_ms = _cpu_ms(sampler.report, max(1, times // 10))
        metrics = sampler.sample(pids)
    finally:
        for process in started:
            process.communicate()
    beat = wire.encode(Heartbeat(1, metrics, (), 1))

    def passed_on() -> None:
        wire.decode(beat)
        wire.encode(Sample("s1", bytes(16), metrics), topic=wire.TOPIC_METRICS)

    per_s = sample_ms / limits.heartbeat_s_default + report_ms / limits.report_s_default
    return {
        "workers": workers,
        "processes": len(psutil.pids()),
        "sample_ms": round(sample_ms, 3),
        "report_ms": round(report_ms, 3),
        "percent_of_a_core": round(per_s / 10, 3),
        "heartbeat_at_the_master_us": round(1e3 * _cpu_ms(passed_on, 2_000), 1),
    }


def _cpu_ms(call: object, times: int) -> float:
    assert callable(call)
    call()
    began_s = time.process_time()
    for _ in range(times):
        call()
    return 1e3 * (time.process_time() - began_s) / times


def main() -> int:
    """Measure, print, and say whether it is within its budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=[2, 16])
    parser.add_argument("--times", type=int, default=200)
    given = parser.parse_args()
    rows = [measured(workers, given.times) for workers in given.workers]
    print(json.dumps(rows, indent=2))
    return int(any(row["percent_of_a_core"] > BUDGET_PERCENT for row in rows))


if __name__ == "__main__":
    sys.exit(main())
