"""A report in a real browser."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from hpczmq.report import page
from tests.debian import installed
from tests.unit.test_tracing import story

#: No network, no first-run pages, nothing kept; it may run as root, in a container.
BROWSER = (
    "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr",
    "--window-size=1200,2600", "--hide-scrollbars", "--force-color-profile=srgb",
)  # fmt: skip
#: Colours of the Gantt chart: what was done, what was killed for its time, and a bar of a chart.
SHOWN = {(0x2A, 0x9D, 0x8F), (0xF7, 0x7F, 0x00), (0x45, 0x7B, 0x9D)}


@pytest.mark.slow  # the browser is 300 MB to install, where it is missing
def test_a_browser_shows_a_report_and_complains_of_nothing(tmp_path: Path) -> None:
    installed(["chromium"], ["chromium", "fonts-dejavu-core"])
    report, picture = tmp_path / "report.html", tmp_path / "report.png"
    report.write_text(page(story()))
    kept = f"--user-data-dir={tmp_path / 'profile'}"
    for what in ("--dump-dom", f"--screenshot={picture}"):
        done = subprocess.run(
            [*BROWSER, kept, what, report.as_uri()], check=True, capture_output=True, text=True,
            timeout=100,
        )  # fmt: skip
        said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        assert not said, "what it refused, or could not read"
        if what == "--dump-dom":
            seen = re.sub(r"<[^>]*>", "", done.stdout)
            assert "4 tasks: median 1.00 s" in seen
            assert done.stdout.count("</rect>") == report.read_text().count("<rect")
    with Image.open(picture) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24) or ()}
    assert colours >= SHOWN
    assert len(colours) > 200, "the picture is there"
