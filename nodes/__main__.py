"""`python -m hpczmq.nodes ROLE [KEY=VALUE …]`: a node without the command line's weight.

What an embedded cluster starts; people use `hpczmq master` and its siblings.
"""

from __future__ import annotations

import sys

from hpczmq import config
from hpczmq.errors import HpczmqError
from hpczmq.nodes.launch import ROLES
from hpczmq.plain import printable


def main(arguments: list[str]) -> int:
    """Run the node; its exit code."""
    role, *pairs = arguments
    given = dict(pair.split("=", 1) for pair in pairs)
    try:
        ROLES[role](config.load({}, {f"HPCZMQ_{k.upper()}": v for k, v in given.items()}))
    except HpczmqError as error:
        print(printable(str(error)), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
