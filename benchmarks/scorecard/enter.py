"""Becomes the command behind it, as the next node of a stage: `python enter.py FOLDER COMMAND…`.

Parsl starts its nodes by itself and all alike. This gives each the name, and the host, that the
other systems' nodes are given by the stage.
"""

from __future__ import annotations

import json
import os
import sys
from itertools import count
from pathlib import Path


def main() -> None:
    """Take the next name, and go on as that node."""
    folder, command = Path(sys.argv[1]), sys.argv[2:]
    for number in count(1):
        try:
            with (folder / f"entered-{number}").open("x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            continue
        break
    at = json.loads((folder / "hosts.json").read_text()).get(f"node{number}", [])
    os.environ["SCORECARD_NODE"] = f"node{number}"
    os.execvp([*at, *command][0], [*at, *command])


if __name__ == "__main__":
    main()
