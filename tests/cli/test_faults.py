"""Whatever is typed, set or done to the streams: the right code, one sentence."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
import typer

from mssctl.cli.app import app
from mssctl.cli.options import Json, with_display
from mssctl.cli.separate import songs_text
from mssctl.cli.session import run, session
from mssctl.cli.streams import LONGEST, escaped, printable
from mssctl.errors import MssctlError
from mssctl.events import Notice, Progress, Step
from mssctl.results.common import FileFailure
from mssctl.results.separate import SeparatedSong, SeparateResult

ALONE = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MUSDB_PATH")


def assert_one_sentence(stderr: str) -> None:
    """One error, with a hint at most, and nothing of Python."""
    lines = [line for line in stderr.splitlines() if not line.startswith(("note: ", "warning: "))]
    assert lines[0].startswith("error: "), stderr
    assert all(line.startswith("hint: ") for line in lines[1:]), stderr
    assert len(lines) <= 2, stderr
    assert all(len(line) < LONGEST + 100 for line in lines)
    assert not re.search(r"Traceback|[A-Z]\w+Error\b|\x1b", stderr)


TYPED = [
    # blank: a variable of the shell that is not set
    (["separate", ""], 2, "SONGS"),
    (["separate", "x.wav", " "], 2, "SONGS"),
    (["separate", "x.wav", "-o", ""], 2, "--out"),
    (["separate", "x.wav", "-n", ""], 2, "--name"),
    (["separate", "x.wav", "--filename="], 2, "--filename"),
    (["train", ""], 2, "PRESET"),
    (["train", "starter", "--data", ""], 2, "--data"),
    (["train", "starter", "--data", "a", "--data", ""], 2, "--data"),
    (["resume", ""], 2, "RUN"),
    (["eval", "-r", ""], 2, "--reference"),
    (["bench", "--compare", "a", ""], 2, "--compare"),
    (["data", "check", ""], 2, "FOLDER"),
    (["data", "synth", "", "--hours", "1"], 2, "OUT"),
    (["models", "import", "", "-o", "x"], 2, "FILE"),
    (["doctor", "--out", ""], 2, "--out"),
    (["plan", "--set", ""], 2, "--set"),
    # an option as a value: the same, without quotes
    (["separate", "x.wav", "-o", "--overwrite"], 2, "--out"),
    (["separate", "x.wav", "-n", "-o", "out"], 2, "--name"),
    (["separate", "x.wav", "--filename", "--skip-existing"], 2, "--filename"),
    (["train", "starter", "--data", "--dry-run"], 2, "--data"),
    (["bench", "--compare", "a", "-q"], 2, "--compare"),
    # given twice: the last would win without a word
    (["separate", "x.wav", "-o", "a", "-o", "b"], 2, "--out"),
    (["separate", "x.wav", "--segment", "1", "--segment", "2"], 2, "--segment"),
    (["separate", "x.wav", "--skip-existing", "--overwrite"], 2, "--overwrite"),
    (["separate", "x.wav", "--stems", "vocals,vocals"], 2, "vocals is given twice"),
    (["separate", "x.wav", "--stems", "vocals,"], 2, "--stems"),
    (["data", "check", "x", "--stems", "bass,bass"], 2, "bass is given twice"),
    (["train", "starter", "--set", "training.seed=1", "--set", "training.seed=2"], 2, "twice"),
    (["models", "export", "starter", "-o", "x", "--card", "a=1", "--card", "a=2"], 2, "twice"),
    (["plan", "starter", "--batch", "2", "--set", "training.batch_size=3"], 2, "--batch"),
    (["plan", "starter", "--layers", "2", "--set", "model.n_layers=3"], 2, "--layers"),
    (["plan", "starter", "--segment", "2", "--set", "training.segment_length=9"], 2, "--segment"),
    (["bench", "starter", "--batch", "2", "--set", "training.batch_size=3"], 2, "--batch"),
    # absurd numbers
    (["separate", "x.wav", "--segment", "1e308"], 2, "--segment"),
    (["separate", "x.wav", "--segment", "1e-9"], 2, "--segment"),
    (["separate", "x.wav", "--segment", "nan"], 2, "--segment"),
    (["separate", "x.wav", "--overlap", "0.99999999999"], 2, "--overlap"),
    (["separate", "x.wav", "--overlap", "-1"], 2, "--overlap"),
    (["separate", "x.wav", "--batch", "1e20"], 2, "--batch"),
    (["separate", "x.wav", "--batch", "100000000000000000000"], 2, "--batch"),
    (["separate", "x.wav", "--shifts", "1000000000"], 2, "--shifts"),
    (["separate", "x.wav", "--shifts", "2", "--seed", str(10**30)], 2, "--seed"),
    (["eval", "-r", "x", "--window", "inf"], 2, "--window"),
    (["eval", "-r", "x", "--hop", "0"], 2, "--hop"),
    (["eval", "-r", "x", "--jobs", "1000000000"], 2, "--jobs"),
    (["eval", "-r", "x", "--memory", "nan"], 2, "--memory"),
    (["plan", "--layers", "1000"], 2, "--layers"),
    (["plan", "--emb-dim", "1000000000"], 2, "--emb-dim"),
    (["plan", "--heads", "0"], 2, "--heads"),
    (["plan", "--n-fft", "1000000000"], 2, "--n-fft"),
    (["bench", "--steps", "1000000000000"], 2, "--steps"),
    (["data", "synth", "out", "--hours", "1e12"], 2, "--hours"),
    (["data", "synth", "out", "--hours", "0"], 2, "--hours"),
    (["data", "synth", "out", "--hours", "1", "--seed", "-1"], 2, "--seed"),
    (["data", "synth", "out", "--hours", "1", "--seed", str(10**30)], 2, "--seed"),
    (["data", "synth", "out", "--hours", "1", "--song-seconds", "0"], 2, "--song-seconds"),
    (["data", "synth", "out", "--hours", "1", "--valid-fraction", "1"], 2, "--valid-fraction"),
    (["data", "synth", "out", "--hours", "1", "--workers", "1000000000"], 2, "--workers"),
    # names
    (["train", "~nobody-of-that-name/x.yaml"], 3, "~nobody-of-that-name"),
    (["train", "x" * 300 + ".yaml"], 3, "x.yaml"),
    (["separate", "a\nb\x1b[31m.wav"], 4, r"a\nb\x1b[31m.wav"),
    (["separate", "x" * 300 + ".wav"], 4, "name too long"),
    (["models", "info", "no\x1bsuch" + "y" * 100_000], 3, r"no\x1bsuch"),
    (["separate", "--x" + "y" * 100_000], 2, "No such option"),
]


@pytest.fixture
def bare(monkeypatch, tmp_path) -> Path:
    """An empty current folder, and no variable that says anything."""
    for name in ALONE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("arguments", "code", "words"), TYPED)
def test_what_cannot_be_meant_is_one_sentence(mssctl, bare, arguments, code, words):
    outcome = mssctl(*arguments)
    assert (outcome.exit_code, outcome.stdout) == (code, "")
    assert words in outcome.stderr
    assert_one_sentence(outcome.stderr)
    outcome = mssctl(*arguments, "--json")
    assert outcome.document["exit_code"] == outcome.exit_code == code
    assert len(outcome.document["error"]["message"]) <= LONGEST + 100
    assert not list(bare.iterdir())


@pytest.mark.usefixtures("bare")
def test_json_in_the_place_of_a_value_still_gives_a_document(mssctl):
    outcome = mssctl("separate", "x.wav", "-o", "--json")
    assert outcome.document["exit_code"] == outcome.exit_code == 2


def test_a_flag_may_be_repeated_where_it_says_the_same(mssctl):
    assert mssctl("models", "list", "--json", "--json", "-v", "-v").exit_code == 0


SET = [
    ({"RANK": "abc"}, ["train", "starter"], 3, "RANK=abc"),
    ({"RANK": "1"}, ["train", "starter"], 3, "RANK without WORLD_SIZE"),
    ({"WORLD_SIZE": "two", "RANK": "0"}, ["train", "starter"], 3, "WORLD_SIZE=two"),
    ({"WORLD_SIZE": "2"}, ["train", "starter"], 3, "without RANK"),
    ({"WORLD_SIZE": "2", "RANK": "2"}, ["train", "starter"], 3, "RANK=2"),
    ({"WORLD_SIZE": "2", "RANK": "-1"}, ["train", "starter"], 3, "RANK=-1"),
    ({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "x"}, ["train", "starter"], 3, "LOCAL_RANK=x"),
    ({"WORLD_SIZE": "9" * 5000, "RANK": "1"}, ["resume", "."], 3, "WORLD_SIZE=9"),
    ({"MUSDB_PATH": ""}, ["train", "starter"], 4, "no training data"),
    ({"MUSDB_PATH": "  "}, ["train", "starter"], 4, "no training data"),
]


@pytest.mark.parametrize(("variables", "arguments", "code", "words"), SET)
def test_a_strange_environment_is_one_sentence(
    mssctl, bare, monkeypatch, variables, arguments, code, words
):
    for name in ("config.yaml", "data.json"):  # for resume
        (bare / name).write_text("{}")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    outcome = mssctl(*arguments)
    assert (outcome.exit_code, outcome.stdout) == (code, "")
    assert words in outcome.stderr
    assert_one_sentence(outcome.stderr)


@pytest.mark.parametrize(
    "variables",
    [
        {"RANK": "abc"},
        {"RANK": "1"},
        {"RANK": "1", "WORLD_SIZE": "2"},
        {"COLUMNS": "abc", "LINES": "-1", "TERM": "dumb"},
        {"TERM": "no-such-terminal", "FORCE_COLOR": "1"},
        {"TMPDIR": "/no/such/folder", "HF_HOME": "\n", "XDG_CACHE_HOME": ""},
    ],
)
def test_variables_that_do_not_concern_a_command_do_not_change_it(mssctl, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    outcome = mssctl("models", "list", "--json")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.document["data"]["models"]
    assert mssctl("separate", "--help").exit_code == 0


def test_of_several_that_train_together_the_first_prints_the_result(monkeypatch, capsys):
    def printed(rank: str) -> str:
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        one = typer.Typer()

        @one.command()
        def command(json: bool = False) -> None:
            with session(json=json, trains=True) as ui:
                ui.show(SeparateResult("starter", "cpu", "fp32", [SONG], []), songs_text)

        assert run(one, ["--json"]) == 0
        return capsys.readouterr().out

    assert json.loads(printed("0"))["exit_code"] == 0
    assert printed("1") == ""


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "nr/x.ckpt"), 3, "nr/x.ckpt: Perm"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 9000), 3, "characters …"),
        (OSError(errno.EIO, "Input/output error"), 3, "Input/output error"),
        (ImportError("libtorch_cpu.so: failed to map segment"), 3, "failed to map segment"),
        (ImportError("\n\nLong words.\n\nOriginal error was: libx.so\n"), 3, "libx.so"),
        (RuntimeError("Could not determine home directory."), 3, "home folder"),
        (MemoryError(), 4, "memory ran out"),
        (MssctlError("a\nb\x1b[2J\u202e\udcff" + "z" * 99_999), 4, r"a\nb\x1b[2J\u202e\udcff"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(end, error, code, words):
    def body(ui):
        raise error

    got, stdout, stderr = end(body)
    assert (got, stdout) == (code, "")
    assert words in stderr
    assert_one_sentence(stderr)
    assert len(json.loads(end(body, "--json")[1])["error"]["message"]) < LONGEST + 100


def test_a_removed_current_folder_is_said_before_anything_is_loaded(end, bare, monkeypatch):
    def gone() -> Path:
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(Path, "cwd", gone)
    code, stdout, stderr = end(lambda ui: pytest.fail("the body ran"))
    assert (code, stdout) == (3, "")
    assert "the current folder" in stderr
    assert_one_sentence(stderr)


def test_names_are_printed_on_one_line_and_messages_are_bounded():
    assert escaped("a\nb\tc\x1b[31m\x7f\x85") == r"a\nb\tc\x1b[31m\x7f\x85"
    assert escaped("ça va ♪ 日本 👩‍🎤.wav") == "ça va ♪ 日本 👩‍🎤.wav"
    long = printable("head" + "\n" * 10**6 + "tail")
    assert len(long) < LONGEST + 100
    assert long.startswith(r"head\n")
    assert long.endswith(r"\ntail")


# --- streams

SONG = SeparatedSong("a\n\x1b[31m.wav", {"vocals": "v"}, 60.0, 44_100, 2, 2.0, [])
STEP = Step(1, 5, 105, -3.2, {"l1": 0.8}, 5e-4, 1.5, 0.5, None)


class Broken(io.StringIO):
    """A stream that cannot be written."""

    def __init__(self, error: Exception, terminal: bool = False) -> None:
        super().__init__()
        self.error, self.terminal, self.tried = error, terminal, 0

    def write(self, text: str) -> int:
        self.tried += 1
        raise self.error

    def flush(self) -> None:
        raise self.error

    def isatty(self) -> bool:
        return self.terminal


def chatty(ui) -> None:
    """Says everything that a command can say."""
    ui.report(Notice("a note\nof two lines"))
    ui.report(Notice("a warning", level="warning"))
    for done in range(3):
        ui.report(Progress("song", done, 2, "s"))
    ui.report(STEP)
    sys.stderr.write("a library\n")
    failed = FileFailure("b.wav", "damaged", None, 4)
    ui.show(SeparateResult("starter", "cpu", "fp32", [SONG], [failed]), songs_text)


@pytest.fixture
def end(capsys) -> Callable[..., tuple[int, str, str]]:
    """Run a command whose body is the given function of `ui`."""

    def call(body, *arguments):
        one = typer.Typer()

        def command(json: Json = False) -> None:
            with session(json=json) as ui:
                body(ui)

        one.command()(with_display(command))
        capsys.readouterr()
        code = run(one, arguments)
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EIO, "Input/output error"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        ValueError("I/O operation on closed file"),
        RuntimeError("reentrant call"),
        None,
    ],
)
def test_a_terminal_that_cannot_be_written_changes_nothing(end, monkeypatch, error, terminal):
    code, stdout, _ = end(chatty, "--json")
    stream = Broken(error, terminal) if error else None
    monkeypatch.setattr(sys, "stderr", stream)
    assert end(chatty, "--json", "-vv")[:2] == (code, stdout)
    assert sys.stderr is stream
    assert code == 1
    for body in (MssctlError("no"), KeyboardInterrupt()):

        def fail(ui, error=body):
            raise error

        assert end(fail, "--json")[0] == (4 if isinstance(body, MssctlError) else 130)
    assert end(chatty, "--nonsense")[0] == 2
    if stream and not isinstance(error, RuntimeError):  # which passes
        assert stream.tried <= 8  # once dropped, nobody tries again in that run


def test_a_reader_that_has_gone_does_not_change_the_exit_code(end, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Broken(BrokenPipeError(errno.EPIPE, "Broken pipe")))
    result = SeparateResult("starter", "cpu", "fp32", [SONG], [])
    assert end(lambda ui: ui.show(result, songs_text))[0] == 0
    assert end(chatty)[0] == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_shutdown_and_a_closed_terminal_end_a_command_as_ctrl_c_does(end, number):
    cleaned = []

    def body(ui):
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(signal.SIGHUP)  # the shell's, after the terminal's own
            cleaned.append(True)

    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)]
    code, _, stderr = end(body)
    assert (code, stderr, cleaned) == (130, "error: interrupted\n", [True])
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)] == before


def test_nohup_stays_in_force(end):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert end(lambda ui: signal.raise_signal(signal.SIGHUP))[0] == 0
    finally:
        signal.signal(signal.SIGHUP, before)


REAL = r"""
import os, sys
import typer
from mssctl.cli.app import app, main
from mssctl.cli.models import list_text
from mssctl.cli.session import session
from mssctl.errors import MssctlError
from mssctl.results.models import ModelList

@app.command()
def result(json: bool = False):
    with session(json=json) as ui:
        ui.show(ModelList([]), list_text)

@app.command()
def fail(json: bool = False):
    with session(json=json):
        raise MssctlError("no model", exit_code=3)

def go(words, streams):
    reader, pipe = os.pipe()
    os.close(reader)
    child = os.fork()
    if child:
        os.close(pipe)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for number, kind in streams.items():
        if kind == "closed":
            os.close(number)
            setattr(sys, {1: "stdout", 2: "stderr"}[number], None)
        else:
            os.dup2(pipe if kind == "pipe" else os.open(kind, os.O_WRONLY), number)
    main(words.split())
print([go(words, streams) for words, streams in eval(sys.stdin.read())])
"""


def test_real_streams_that_are_full_closed_or_gone():
    """Up to Python's own last flush, which would exit with 120."""
    full, null = "/dev/full", os.devnull
    cases = {
        ("--help", (1, full)): 3,
        ("--version", (1, full)): 3,
        ("--help", (1, "pipe")): 0,
        ("--version", (1, "pipe"), (2, "pipe")): 0,
        ("result", (1, "pipe")): 0,
        ("result", (1, "closed")): 3,
        ("result", (1, full)): 3,
        ("result", (1, full), (2, full)): 3,
        ("result --json", (1, null), (2, full)): 0,
        ("fail", (1, null), (2, full)): 3,
        ("fail --json", (1, null), (2, "pipe")): 3,
        ("fail", (1, null), (2, "closed")): 3,
        ("nonsense", (1, null), (2, full)): 2,
        ("separate x.wav -o", (1, null), (2, "closed")): 2,
    }
    given = [(words, dict(streams)) for words, *streams in cases]
    done = subprocess.run(
        [sys.executable, "-c", REAL], input=repr(given), capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == list(cases.values())
    assert done.stderr.splitlines() == [
        *["error: stdout cannot be written: No space left on device"] * 2,
        "error: stdout is closed: the result cannot be shown",
        "error: stdout cannot be written: No space left on device",
    ]


def test_no_output_file_gets_the_number_of_a_closed_stream(tmp_path):
    """Or what a library in C complains would stand in the middle of a stem."""
    script = (
        "import os, sys; from mssctl.cli.streams import guarded\n"
        "with guarded():\n"
        f"    print(open({str(tmp_path / 'x')!r}, 'w').fileno())\n"
    )
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" 2>&- <&-', sys.executable, script],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout) > 2


# --- work

TOY = """
audio: {sample_rate: 8000, stems: [vocals, drums, bass, other]}
stft: {n_fft: 256, hop_length: 128}
model: {freqs_per_bands: [16, 16, 32, 65], n_layers: 1, emb_dim: 8, attention_dim: 8, n_heads: 2,
        ffn_hidden_dim: [8, 8], num_groups: 2, mask_expansion: 1, dropout: 0}
loss: {spectral_n_fft: [256]}
training: {num_epochs: 1, steps_per_epoch: 50, segment_length: 2048, batch_size: 1,
           amp_dtype: float32, num_workers: 0, validate_songs: 1}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ctrl_c_on_a_run_whose_log_dies_of_it_too_saves_a_checkpoint(
    bare, make_song, monkeypatch, capsys, number
):
    """``mssctl train … 2>&1 | tee log``: the terminal interrupts both."""
    for name in ("train/a", "valid/b"):
        make_song(bare / "data" / name, frames=8_000)
    (bare / "toy.yaml").write_text(TOY)

    class Log(io.StringIO):
        gone = False

        def write(self, text: str) -> int:
            if text.startswith("step 1/") and not self.gone:
                self.gone = True
                signal.raise_signal(number)
            if self.gone:
                raise BrokenPipeError(errno.EPIPE, "Broken pipe")
            return len(text)

    monkeypatch.setattr(sys, "stderr", Log())
    words = ["train", "toy.yaml", "--data", "data", "-o", "run", "--device", "cpu", "--json"]
    assert run(app, words) == 130
    document = json.loads(capsys.readouterr().out)
    assert document["data"]["finished"] is False
    assert document["data"]["step"] == 1
    assert (bare / "run/checkpoints/step-00000001/state.json").is_file()


def test_separate_under_broken_streams_writes_the_same_result(bare, monkeypatch, capsys):
    import numpy as np

    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (8_000, 2))
    soundfile.write(bare / "song.wav", noise, 44_100)
    (bare / "pipe.wav").touch()
    (bare / "pipe.wav").unlink()
    os.mkfifo(bare / "pipe.wav")
    words = ["separate", "pipe.wav", "song.wav", "gone.wav", "--device", "cpu", "--json"]
    monkeypatch.setenv("RANK", "1")  # without WORLD_SIZE: it does not concern this command
    monkeypatch.setattr(sys, "stderr", Broken(OSError(errno.ENOSPC, "No space left on device")))
    assert run(app, words) == 1
    data = json.loads(capsys.readouterr().out)["data"]
    assert [song["path"] for song in data["songs"]] == ["song.wav"]
    assert [Path(failure["path"]).name for failure in data["failures"]] == ["pipe.wav", "gone.wav"]
    assert len(list(bare.glob("separated/starter/song/*.wav"))) == 4
