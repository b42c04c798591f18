"""What containers cost: `python -m benchmarks.containers --master 192.168.56.10 --key FILE`.

The cluster of `registry/full-deploy.sh` is there, a slot for each of its slaves; another one of
as many processes on loopback, with keys too, does the same jobs in turn with it (those of
`benchmarks.curve`), so that what else this machine does falls on both. In containers the memorias
listen, and a bridge is in between. A ratio is of one pair; the median of all of them counts.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

import hpczmq
from benchmarks.curve import cluster, compare


def main() -> None:
    """Measure all jobs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.containers")
    parser.add_argument("--master", required=True, help="of the cluster in containers")
    parser.add_argument("--key", required=True, help="an admin's key file of that cluster")
    parser.add_argument("--repeat", type=int, default=9, help="pairs of each job")
    parser.add_argument("--smaller", type=int, default=1, help="divides the sizes")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        os.environ["HPCZMQ_KEY"] = given.key
        contained = stack.enter_context(hpczmq.Client(given.master, timeout=120))
        del os.environ["HPCZMQ_KEY"]
        slots = contained.status().slots
        bare = cluster(stack, Path(folder), keyed=True, slaves=slots)
        print(f"{slots} slots each")
        print("| job | processes, s | containers, s | ratio | from … to |")
        compare(bare, contained, given.repeat, given.smaller)


if __name__ == "__main__":
    main()
