"""Makes the pictures of the README, with the program that they show: `make pictures`.

    docs/images/julia.png       a Julia set, as `hpczmq render` draws it
    docs/images/progress.svg    the bars of `hpczmq run examples/trabajos.txt`, part of the way
    docs/images/top.svg         what `hpczmq top --svg` would draw at that moment
    docs/images/report.png      the page that `hpczmq report` writes, where Chromium is installed
    docs/images/results.svg     what `hpczmq demo` prints at its end

Nothing is staged: a cluster of this machine computes, and what it says is drawn. It takes a
minute, and can be run again at any time; the clusters end with it.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

import hpczmq
from hpczmq import batch
from hpczmq.dashboard import shell
from hpczmq.dashboard.frame import Frame
from hpczmq.dashboard.screen import Screen
from hpczmq.futures import JobFuture
from hpczmq.observing import as_svg
from hpczmq.palettes import Look
from hpczmq.progress import BatchProgress
from hpczmq.results import ResultWriter

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
#: README.md names this command below the picture; a test holds the two together.
RENDER = "render --width 1200 --height 600 --half-width 1.8 -o julia.png"
RUN = "run examples/trabajos.txt"
#: Characters a line: as few as it takes to fold nothing, so that the letters stay large.
PROGRESS_COLUMNS, TOP_COLUMNS, TOP_LINES = 108, 110, 34


class Enough(Exception):
    """The pictures are taken; the rest of the batch is of no interest."""


class Photographer(BatchProgress):
    """The display of `hpczmq run`, drawn once: four jobs are done, one runs, one still waits."""

    def __init__(self, client: hpczmq.Client) -> None:
        super().__init__(terminal(PROGRESS_COLUMNS))
        self._client = client
        self._jobs: Sequence[JobFuture] = ()

    def begin(self, jobs: Sequence[JobFuture]) -> None:
        """See `BatchProgress.begin`."""
        super().begin(jobs)
        self._jobs = jobs

    def look(self) -> None:
        """See `BatchProgress.look`."""
        super().look()
        done = sum(job.done() for job in self._jobs)
        if done == 4 and any(0.3 < job.arrived_tasks / job.tasks < 1.0 for job in self._jobs):
            draw("progress.svg", RUN, self._progress.get_renderable(), PROGRESS_COLUMNS)
            with hpczmq.Client(self._client.address) as other:  # who looks on, and keeps nothing
                board = shell.once(other)
            frame = Frame(board, Screen(), board.events_s, height=TOP_LINES)
            (IMAGES / "top.svg").write_text(as_svg(frame, TOP_COLUMNS, "hpczmq top", "top"))
            raise Enough


def terminal(columns: int) -> Console:
    """A terminal that remembers what was printed on it, and shows it to nobody."""
    return Console(
        file=io.StringIO(), record=True, width=columns, force_terminal=True, highlight=False
    )


def draw(name: str, title: str, what: RenderableType, columns: int) -> None:
    """Draw what a terminal shows into an SVG file, which needs nothing from the network."""
    console = terminal(columns)
    console.print(what)
    svg = console.export_svg(title=f"hpczmq {title}", unique_id=Path(name).stem)
    # Fira Code by URL; a README shows a picture without fetching anything for it anyway.
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    assert "src:" not in svg, "rich loads something else now"
    lines = [line.rstrip() for line in svg.splitlines()]
    (IMAGES / name).write_text("\n".join(lines) + "\n")


def command(*arguments: str, columns: int, folder: Path) -> Text:
    """What a command prints on a terminal of so many columns."""
    environment = {
        **{key: value for key, value in os.environ.items() if key != "NO_COLOR"},
        "COLUMNS": str(columns),
        "FORCE_COLOR": "1",
        "TERM": "xterm-256color",
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(":"),
    }
    program = [sys.executable, "-P", "-m", "hpczmq.cli"]
    done = subprocess.run(
        [*program, *arguments],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"hpczmq {' '.join(arguments)}:\n{done.stderr}")
    return Text.from_ansi(done.stdout.strip("\n"))


def browse(client: hpczmq.Client, folder: Path) -> None:
    """Have a browser draw the report of a job that a few workers were busy with for a second."""
    if shutil.which("chromium") is None:
        print("no chromium: docs/images/report.png stays as it is")
        return
    params = {"width": 2400, "height": 1800, "iterations": 2000, "algorithm": "Numpy", "tile": 128}
    job = client.submit(hpczmq.Job("julia", params | {"c_re": -0.8, "c_im": 0.156}, "dendrite"))
    job.result()
    environment = os.environ | {"HPCZMQ_MASTER": client.address, "PYTHONPATH": str(ROOT)}
    written = [sys.executable, "-m", "hpczmq.cli", "report", job.id, "-o", "report.html"]
    subprocess.run(written, cwd=folder, env=environment, check=True)
    browser = ("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
    size, kept = "--window-size=1150,2050", f"--user-data-dir={folder / 'profile'}"
    picture = f"--screenshot={IMAGES / 'report.png'}"
    page = (folder / "report.html").as_uri()
    subprocess.run([*browser, size, kept, picture, page], check=True, stderr=subprocess.DEVNULL)
    with Image.open(IMAGES / "report.png") as drawn:  # a third of the size, and looks the same
        few = drawn.convert("RGB").quantize(
            256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
    few.save(IMAGES / "report.png", optimize=True)


def main() -> None:
    """Make all of them."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="hpczmq-pictures-") as name:
        folder = Path(name)
        command(*RENDER.split(), columns=80, folder=folder)
        (IMAGES / "julia.png").write_bytes((folder / "julia.png").read_bytes())

        said = command("demo", columns=200, folder=folder)
        draw("results.svg", "demo", said, max(map(cell_len, said.plain.splitlines())))

        jobs = batch.load(str(ROOT / "examples" / "trabajos.txt"))
        writer = ResultWriter(folder / "results")
        with (
            hpczmq.LocalCluster(slaves=2, memorias=2) as cluster,
            hpczmq.Client(cluster.address) as client,
            Photographer(client) as photographer,
        ):
            browse(client, folder)
            try:
                batch.run(jobs, client, writer, photographer, Look(), cluster.check)
            except Enough:
                return
    raise SystemExit("the batch was over before the pictures were taken: take larger jobs")


if __name__ == "__main__":
    main()
