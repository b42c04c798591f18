"""Disks that are full: small ones, in the mount namespace that each process of a host has."""

from __future__ import annotations

from tests.integration.harness import DEADLINE_S
from tests.network.lab import CLIENT, DOS, IMAGE, MASTER, UNO, NetworkLab, address

#: Makes a folder a small disk, for this process and those that it starts.
MOUNT = """\
folder=$1; mkdir -p "$folder" && mount -t tmpfs -o size="$2" small "$folder" || exit
TMPDIR=$PWD/$folder; export TMPDIR; shift 2
"""
#: Nobody else sees what is on it, so it is shown at the end.
SHOW = '"$@"; code=$?; find "$folder" -type f; exit $code'
COUNTS_BYTES = IMAGE["width"] * IMAGE["height"] * 2


def with_disk(folder: str, size: int, then: str = 'exec "$@"') -> tuple[str, ...]:
    """What stands before a command so that a folder is a disk of so many bytes for it."""
    return ("sh", "-c", MOUNT + then, "sh", folder, str(size))


def test_a_master_whose_disk_is_full_keeps_results_in_memory(lab: NetworkLab) -> None:
    master, *_ = lab.cluster(UNO, DOS, before=with_disk("disk", COUNTS_BYTES // 4))
    until_what = "the whole job, from the submit on"  # which may take its time
    with lab.recovery("the master's disk is full", until_what, within_s=DEADLINE_S):
        lab.finished(lab.run_at())
    assert master.said().count("No space left on device: make room on the disk") == 1


def test_a_client_whose_disk_is_full_says_so_and_the_result_is_still_to_be_had(
    lab: NetworkLab,
) -> None:
    lab.cluster(UNO, DOS)
    # Room for the counts, but not for their picture.
    client = lab.run_at(before=with_disk("out", COUNTS_BYTES + 12 * 1024, SHOW))
    ended = client.ended()
    assert ended.code == 1  # it was computed: bad usage would have started nothing
    assert "kept: out/image/counts.npy" in ended.err
    assert "No space left on device" in ended.err
    assert "Traceback" not in ended.err
    assert ended.out.split() == ["out/image/counts.npy"]
    with lab.recovery("the client's disk was full", "the whole image is on another one (`fetch`)"):
        where = ("--out", "again", "--master", address(MASTER))
        lab.finished(lab.launch_at(CLIENT, "fetch", lab.job().id, *where), "again")
