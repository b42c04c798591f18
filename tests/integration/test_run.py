"""`hpczmq run`, `render` and `demo`, each on a cluster of its own that it starts and takes down."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from hpczmq.assembler import digest
from tests.integration.harness import MISBEHAVING, ROOT, Ended, Lab
from tests.integration.pictures import reference, same

JOBS = """\
# all three algorithms
Secuencial,64,48,60
numpy,150,130,70,1
juliaCython,64,48,70000,3,name=fast,c_re=-0.8,c_im=0.156
"""
PARAMS: dict[str, dict[str, Any]] = {
    "j1": {"width": 64, "height": 48, "iterations": 60},
    "j2": {"width": 150, "height": 130, "iterations": 70},
    "fast": {"width": 64, "height": 48, "iterations": 70_000, "c_re": -0.8, "c_im": 0.156},
}
ALGORITHMS = {"j1": "Secuencial", "j2": "Numpy", "fast": "juliaCython"}
#: The smallest cluster, for what is not about clusters.
SMALL = ("--slaves", "1", "--slots", "1", "--memorias", "0")


def names(folder: Path) -> set[str]:
    """All files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def table(folder: Path) -> list[dict[str, str]]:
    """The lines of results.csv."""
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def write(lab: Lab, name: str, text: str | bytes) -> str:
    """A file in the test's folder; its name."""
    content = text.encode() if isinstance(text, str) else text
    (lab.folder / name).write_bytes(content)
    return name


# --- run ----------------------------------------------------------------------------------------


def test_a_job_file_ends_in_the_files_that_are_promised(lab: Lab) -> None:
    # As the installed command does it: by the module, from whatever folder.
    command = [sys.executable, "-m", "hpczmq.cli", "run", write(lab, "jobs.txt", JOBS)]
    done = lab.start("run", [*command, "--out", "out"]).ended().fine()
    lab.until_empty("after a run")
    out = lab.folder / "out"
    files = ("counts.npy", "image.png", "job.json")
    assert names(out) == {f"{job}/{file}" for job in PARAMS for file in files} | {"results.csv"}
    for job, params in PARAMS.items():
        counts = numpy.load(out / job / "counts.npy")
        assert same(counts, params)
        with Image.open(out / job / "image.png") as image:
            assert image.size == (params["width"], params["height"])
        report = json.loads((out / job / "job.json").read_text())
        wanted = {**params, "algorithm": ALGORITHMS[job]}
        assert wanted.items() <= report["params"].items()
        assert (report["state"], report["digest"]) == ("done", digest(counts))
        assert sum(slave["tasks"] for slave in report["slaves"].values()) == report["tasks"]
        # What a user looks for: the table names every picture, whole.
        assert f"out/{job}/image.png" in done.out
    rows = {row["folder"]: row for row in table(out)}
    assert rows.keys() == PARAMS.keys()
    assert [rows[job]["algorithm"] for job in PARAMS] == [*ALGORITHMS.values()]
    assert [rows[job]["priority"] for job in PARAMS] == ["2", "1", "3"]
    assert {row["state"] for row in rows.values()} == {"done"}
    assert "3 jobs, 4 tasks" in done.err  # the lower halves are mirrored
    assert "\x1b" not in done.out + done.err


def test_run_from_the_clone_reads_stdin_and_prints_one_json_document(lab: Lab) -> None:
    arguments = ["correr", "-", "--json", "--salida", "out", *SMALL]
    rows = lab.run(*arguments, env={"PYTHONPATH": ""}, stdin=JOBS).fine().json()
    lab.until_empty("after a run")
    assert [row["state"] for row in rows] == ["done"] * 3
    assert [row["folder"] for row in rows] == ["out/j1", "out/j2", "out/fast"]
    assert [row["params"]["algorithm"] for row in rows] == [*ALGORITHMS.values()]
    for row, params in zip(rows, PARAMS.values(), strict=True):
        assert same(numpy.load(lab.folder / row["folder"] / "counts.npy"), params)


def test_a_job_that_fails_leaves_the_others_alone_and_the_exit_code_is_1(lab: Lab) -> None:
    text = """
    [[job]]
    kernel = "fail"
    name = "broken"
    message = "no such luck"
    [[job]]
    name = "whole"
    width = 64
    height = 48
    iterations = 60
    [[job]]
    kernel = "echo"
    name = "greeting"
    value = "hola"
    """
    done = lab.run("run", write(lab, "jobs.toml", text), "--out", "out", *SMALL, env=MISBEHAVING)
    assert done.code == 1, done.err
    out = lab.folder / "out"
    assert same(numpy.load(out / "whole" / "counts.npy"), PARAMS["j1"])
    assert json.loads((out / "greeting" / "result.json").read_text()) == "hola"
    assert names(out / "broken") == {"job.json"}
    report = json.loads((out / "broken" / "job.json").read_text())
    assert report["state"] == "failed"
    assert "Unpicklable: no such luck" in report["cause"]
    assert "kernels_for_tests.py" in report["cause"]  # the kernel's own traceback
    assert "no such luck" in done.err
    states = {row["name"]: row["state"] for row in table(out)}
    assert states == {"broken": "failed", "whole": "done", "greeting": "done"}


def test_the_second_run_into_a_folder_adds_to_its_table(lab: Lab) -> None:
    file = write(lab, "jobs.txt", "Numpy,8,8,9,name=a\nNumpy,8,8,9,name=a\n")
    for _ in range(2):
        lab.run("run", file, *SMALL).fine()
    assert [row["folder"] for row in table(lab.folder / "results")] == ["a", "a-2", "a", "a-2"]


def test_a_result_that_does_not_fit_the_disk_is_named_and_leaves_no_half_of_it(lab: Lab) -> None:
    # Coverage's own file, of some 200 kB, has to fit.
    limited = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6,) * 2)"
    limit = [sys.executable, "-c", f"{limited}; os.execv(sys.argv[1], sys.argv[1:])"]
    jobs = write(lab, "jobs.txt", "Numpy,1000,1000,9\n")
    run = [sys.executable, str(ROOT / "cli.py"), "run", jobs]
    done = lab.start("run", [*limit, *run, *SMALL]).ended()
    assert done.code != 0
    assert "results/j1/counts.npy: File too large: raise the limit (ulimit -f)" in done.err
    assert "Traceback" not in done.err
    lab.until_empty("after a run that failed")
    assert not lab.parts()


# --- What is refused ----------------------------------------------------------------------------

#: Writes down when the program starts another one.
SPY = """
import os, sys

def look(event, arguments):
    if event in ("subprocess.Popen", "os.fork", "os.posix_spawn"):
        with open(os.environ["SPY"], "a") as file:
            file.write(event + "\\n")

sys.addaudithook(look)
"""
GOOD = "Numpy,8,8,9\n"
THREE = "Secuencial,0,48,60\n\n# two of them\nJuliaPython,64,48,60\nNumpy,64,1000000000,60,2\n"
BAD: list[tuple[str, str | bytes, list[str]]] = [
    ("jobs.txt", THREE, [
        "jobs.txt:1: width = 0: must be a whole number, 1..1048576",
        "jobs.txt:4: algorithm = JuliaPython: must be Secuencial, Numpy or juliaCython",
        "jobs.txt:5: height = 1000000000: must be a whole number, 1..1048576",
    ]),
    ("jobs.txt", "Numpy,wide,8,9\n", ["jobs.txt:1: width = wide: must be a whole number"]),
    ("jobs.txt", "Numpy,8,8\n", ["jobs.txt:1: columns = 3: must be algorithm,width"]),
    ("jobs.txt", "Numpy,8,8,-1\n", ["jobs.txt:1: iterations = -1: must be a whole number, 0.."]),
    ("jobs.txt", "Numpy,8,8,9,4\n", ["jobs.txt:1: priority = 4: must be 1 (high), 2 or 3 (low)"]),
    ("jobs.txt", "Numpy,8,8,9,2,size=3\n", ["jobs.txt:1: size = 3: "]),
    ("jobs.txt", "", ["jobs.txt: jobs = 0: must be at least 1"]),
    ("jobs.txt", bytes(range(256)) * 9, ["jobs.txt:1: byte = 0x00: must be text"]),
    ("jobs.toml", "[[job]\n", ["jobs.toml:1: "]),
    ("jobs.toml", '[[job]]\nkernel = "nosuch"\n', ["jobs.toml:1: kernel = nosuch: must be "]),
    ("jobs.jsonl", '{"width": 8\n', ["jobs.jsonl:1: "]),
]  # fmt: skip


def spied(lab: Lab, *arguments: str) -> tuple[Ended, list[str]]:
    """Run a command; how it ended, and what it started or left."""
    folder, seen = lab.folder / "spy", lab.folder / "seen"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SPY)
    before = {*lab.folder.iterdir()}
    done = lab.run(*arguments, env={"PYTHONPATH": f"{folder}:{ROOT}", "SPY": str(seen)})
    started = seen.read_text().split() if seen.exists() else []
    made = {*lab.folder.iterdir()} - before - {seen}
    return done, started + sorted(path.name for path in made)


@pytest.mark.parametrize(("name", "text", "faults"), BAD, ids=range(len(BAD)))
def test_a_bad_job_file_is_refused_whole(
    lab: Lab, name: str, text: str | bytes, faults: list[str]
) -> None:
    done, seen = spied(lab, "run", write(lab, name, text), "--out", "out")
    lines = done.refused().splitlines()
    assert len(lines) == len(faults)
    assert all(line.startswith(fault) for line, fault in zip(lines, faults, strict=True)), lines
    assert not seen


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nosuch.txt"], "nosuch.txt: does not exist"),
        (["run", "spy"], "spy: is a folder"),
        (["run", "good.txt", "--out", "good.txt"], "good.txt: File exists: a file stands"),
        (["run", "good.txt", "--out", "good.txt/out"], "good.txt/out: Not a directory"),
        (["run", "good.txt", "--out", "/proc/out"], "/proc/out: "),
        (["run", "good.txt", "--slaves", "0"], "slaves = 0: must be 1..1000"),
        (["run", "good.txt", "--slots", "0"], "slots = 0: must be 1..1024"),
        (["run", "good.txt", "--memorias", "3"], "memorias = 3: must be 0, 1 or 2"),
        (["run", "good.txt", "--palette", "plaid"], "palette = plaid: must be one of ocean"),
        (["run", "good.txt", "--palette", "magna"], "palette = magna: must be one of ocean"),
        (["render", "--mapeo", "log"], "mapping = log: must be balanced, equalised or linear"),
        (["run", "good.txt", "--timeout", "0"], "timeout_s = 0.0: must be above 0"),
        (["run", "good.txt", "--colour"], "No such option: --colour"),
        (["run"], "Missing argument 'FILE'"),
        (["render", "--width", "0"], "width = 0: must be a whole number"),
        (["render", "--c", "1"], "--c = 1: must be two numbers, like -0.8,0.156"),
        (["render", "--priority", "0"], "priority = 0: must be 1 (high), 2 or 3 (low)"),
        (["render", "--algorithm", "fast"], "algorithm = fast: must be Secuencial, Numpy or"),
        (["render", "-o", "nosuch/pic.png"], "nosuch/pic.png: must be a file in a folder"),
        (["dance"], "No such command 'dance'"),
    ],
    ids=lambda value: "-".join(value[:3]) if isinstance(value, list) else "",
)
def test_bad_usage_is_refused_and_nothing_is_started(
    lab: Lab, arguments: list[str], words: str
) -> None:
    write(lab, "good.txt", GOOD)
    done, seen = spied(lab, *arguments)
    assert done.refused().startswith(words)
    assert not seen


def test_without_arguments_there_is_help_and_nothing_else(lab: Lab) -> None:
    bare, asked = lab.run(), lab.run("--help")
    assert (bare.code, asked.code) == (2, 0)
    assert "Usage: hpczmq [OPTIONS] COMMAND" in asked.out
    assert (bare.out + bare.err).strip() == (asked.out + asked.err).strip()


def test_the_spy_sees_what_a_good_run_starts(lab: Lab) -> None:
    done, seen = spied(lab, "run", write(lab, "good.txt", GOOD), *SMALL)
    done.fine()
    assert {"results", "subprocess.Popen"} <= {*seen}


# --- render and demo ----------------------------------------------------------------------------


def test_render_draws_the_window_that_was_asked_for(lab: Lab) -> None:
    window = ["--c=-0.8,0.156", "--center=0.1,-0.2", "--half-width", "1.2"]
    size = ["--algorithm", "Numpy", "--width", "96", "--height", "64", "--iterations", "80"]
    picture = ["--palette", "gray", "-o", "pic.png", "--slots", "1"]
    done = lab.run("render", *size, *window, *picture).fine()
    assert done.out.startswith("pic.png  ")
    params = {
        "width": 96, "height": 64, "iterations": 80, "c_re": -0.8, "c_im": 0.156,
        "center_x": 0.1, "center_y": -0.2, "half_width": 1.2,
    }  # fmt: skip
    counts = reference(params)
    with Image.open(lab.folder / "pic.png") as image:
        drawn = numpy.asarray(image)
    assert drawn.shape == counts.shape
    assert ((drawn == 0) == (counts == 80)).all()
    # One colour for each count: the picture tells as many apart as the image has.
    assert len({*zip(drawn.ravel().tolist(), counts.ravel().tolist(), strict=True)}) == len(
        {*counts.ravel().tolist()}
    )


def test_the_old_words_for_render_work(lab: Lab) -> None:
    size = ["--ancho", "40", "--alto", "30", "--iteraciones", "50", "--prioridad", "1"]
    done = lab.run("trabajo", "--algoritmo", "SECUENCIAL", *size, "--slots", "1", "--json").fine()
    facts = done.json()
    assert facts["picture"] == "julia.png"
    assert facts["params"]["algorithm"] == "Secuencial"
    assert facts["params"]["iterations"] == 50
    with Image.open(lab.folder / "julia.png") as image:
        assert image.size == (40, 30)


def test_a_look_has_its_name_in_both_languages_and_a_suffix_asks_for_tiff(lab: Lab) -> None:
    size = ["--width", "40", "--height", "30", "--iterations", "50", "--slots", "1"]
    look = ["--paleta", "crameri:hawaii", "--mapeo", "linear"]
    lab.run("trabajo", *size, *look, "-o", "pic.tif").fine()
    lab.run("render", *size, "--palette", "hawaii", "--mapping", "linear", "-o", "pic.png").fine()
    with Image.open(lab.folder / "pic.tif") as tiff, Image.open(lab.folder / "pic.png") as png:
        assert (tiff.format, png.format) == ("TIFF", "PNG")
        assert tiff.convert("RGB").tobytes() == png.convert("RGB").tobytes()


def test_the_demo_ends_with_pictures_and_says_where_they_are(lab: Lab) -> None:
    done = lab.run("demo", "--out", "tour").fine()
    pictures = sorted(path.relative_to(lab.folder) for path in lab.folder.rglob("image.png"))
    assert len(pictures) == 6
    assert all(str(path) in done.out for path in pictures)
    assert {row["algorithm"] for row in table(lab.folder / "tour")} == {*ALGORITHMS.values()}
