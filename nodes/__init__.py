"""The shells: each owns its sockets, its clock and its disk, and runs one pure state machine."""

if __name__ != "hpczmq.nodes":  # pragma: no cover
    raise ImportError(f"import hpczmq.nodes: the bare name {__name__!r} may be another package's")
