"""Publishing files: complete or not at all, nothing replaced, nothing left behind."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import filelock
import pytest

from mssctl import files as files_module
from mssctl import staging
from mssctl.errors import ExitCode, MssctlError
from mssctl.files import FileSet, write_new, write_whole
from mssctl.staging import is_leftover

NAMES = ("a.wav", "b.wav", "below/c.wav")


def publish(folder: Path, *, overwrite: bool = False, text: str = "new") -> None:
    with FileSet(folder, overwrite=overwrite) as files:
        for name in NAMES:
            files.add(folder / name).write_text(text)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b"folder"
        for path in folder.rglob("*")
    }


def old_set(folder: Path) -> dict[str, bytes]:
    publish(folder, text="old")
    return tree(folder)


def fail_at(monkeypatch: pytest.MonkeyPatch, calls: int) -> None:
    """Let the ``calls``-th renaming or linking fail as on a full disk."""
    count = iter(range(1, 100))

    def failing(function):
        def call(*given, **named):
            if next(count) == calls:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return function(*given, **named)

        return call

    monkeypatch.setattr(files_module, "set_aside", failing(staging.set_aside))
    monkeypatch.setattr(files_module, "_place", failing(files_module._place))
    monkeypatch.setattr(Path, "replace", failing(Path.replace))


def test_where_even_putting_back_fails_the_old_files_are_kept_aside(tmp_path, monkeypatch):
    before = old_set(tmp_path)

    def refuse(*_, **__):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="broken"):
        publish(tmp_path, overwrite=True)
    monkeypatch.undo()
    assert b"old" in [text for name, text in tree(tmp_path).items() if "/old/" in name]
    staging.sweep(tmp_path)
    assert tree(tmp_path) == before


@pytest.fixture(params=["links", "no links"])
def links(request, monkeypatch):
    """A file system with hard links, and one without."""
    if request.param == "no links":

        def refuse(*_given, **_named):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)


@pytest.mark.usefixtures("links")
def test_a_set_appears_together_and_leaves_nothing_else(tmp_path):
    with FileSet(tmp_path) as files:
        for name in NAMES:
            files.add(tmp_path / name).write_text("new")
        assert not any((tmp_path / name).exists() for name in NAMES)
    assert tree(tmp_path) == {**dict.fromkeys(NAMES, b"new"), "below": b"folder"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_error_during_the_work_leaves_all_as_it_was(tmp_path, error, overwrite):
    before = old_set(tmp_path) if overwrite else {}
    with pytest.raises(error), FileSet(tmp_path, overwrite=overwrite) as files:  # noqa: PT012
        files.add(tmp_path / "a.wav").write_text("half")
        raise error
    assert tree(tmp_path) == before


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("name", NAMES)
def test_what_is_there_is_never_replaced_unasked(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(MssctlError, match="exists already") as caught:
        publish(tmp_path)
    assert caught.value.exit_code == ExitCode.USAGE
    assert tree(tmp_path) == before


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("name", NAMES)
def test_what_appears_during_the_work_is_kept_and_the_set_is_not_there(tmp_path, name):
    with (  # noqa: PT012
        pytest.raises(MssctlError, match="appeared during the work") as caught,
        FileSet(tmp_path) as files,
    ):
        for new in NAMES:
            files.add(tmp_path / new).write_text("new")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    assert caught.value.exit_code == ExitCode.USAGE
    found = tree(tmp_path)
    found.pop("below", None)
    assert found == {name: b"mine"}


def test_two_sets_in_one_folder_do_not_meet(tmp_path):
    with pytest.raises(MssctlError, match="appeared"), FileSet(tmp_path) as late:  # noqa: PT012
        late.add(tmp_path / "a.wav").write_text("second")
        with FileSet(tmp_path) as early:
            early.add(tmp_path / "a.wav").write_text("first")
    assert tree(tmp_path) == {"a.wav": b"first"}


@pytest.mark.usefixtures("links")
def test_overwriting_replaces_the_whole_set(tmp_path):
    old_set(tmp_path)
    publish(tmp_path, overwrite=True)
    assert tree(tmp_path) == {**dict.fromkeys(NAMES, b"new"), "below": b"folder"}


@pytest.mark.parametrize("calls", range(1, 7))
def test_overwriting_that_fails_anywhere_puts_the_old_set_back(tmp_path, calls, monkeypatch):
    before = old_set(tmp_path)
    fail_at(monkeypatch, calls)
    with pytest.raises(OSError, match="No space left"):
        publish(tmp_path, overwrite=True)
    monkeypatch.undo()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("calls", range(1, 4))
def test_publishing_that_fails_anywhere_takes_all_back(tmp_path, calls, monkeypatch):
    fail_at(monkeypatch, calls)
    with pytest.raises(OSError, match="No space left"):
        publish(tmp_path)
    assert tree(tmp_path) == {}


def test_a_folder_is_published_whole_and_put_back(tmp_path, monkeypatch):
    def make(text: str, *, overwrite: bool = False) -> None:
        with FileSet(tmp_path, overwrite=overwrite) as files:
            (files.add_folder(tmp_path / "stems") / "x.wav").write_text(text)
            files.add(tmp_path / "z.json").write_text(text)

    make("old")
    with pytest.raises(MssctlError, match="stems: exists already"):
        make("new")
    before = tree(tmp_path)
    fail_at(monkeypatch, 3)  # the folder was set aside, the file too
    with pytest.raises(OSError, match="No space left"):
        make("new", overwrite=True)
    monkeypatch.undo()
    assert tree(tmp_path) == before
    make("new", overwrite=True)
    assert tree(tmp_path) == {"stems": b"folder", "stems/x.wav": b"new", "z.json": b"new"}


def test_a_folder_never_gives_way_to_a_file(tmp_path):
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(MssctlError, match="exists already"):
        publish(tmp_path, overwrite=True)


def test_a_text_file_is_replaced_or_refused(tmp_path):
    write_new(tmp_path / "x", "one")
    with pytest.raises(MssctlError, match="x: exists already"):
        write_new(tmp_path / "x", "two")
    assert tree(tmp_path) == {"x": b"one"}
    write_whole(tmp_path / "x", "three")
    assert tree(tmp_path) == {"x": b"three"}


def test_an_error_names_the_output(tmp_path):
    with pytest.raises(OSError, match="No such file") as caught:
        write_whole(tmp_path / "no" / "x", "text")
    assert caught.value.filename == str(tmp_path / "no" / "x")


# --- killed processes


KILLED = """
import os, sys
from pathlib import Path
from mssctl import files, staging
folder = Path(sys.argv[1])
if sys.argv[2] == "while publishing":
    place = Path.replace
    def die(self, target):
        place(self, target)
        os._exit(9)
    Path.replace = die
with files.FileSet(folder, overwrite=True) as new:
    for name in ("a.wav", "b.wav", "below/c.wav"):
        new.add(folder / name).write_text("new")
    if sys.argv[2] == "while working":
        os._exit(9)
"""


@pytest.mark.parametrize("when", ["while working", "while publishing"])
def test_what_a_killed_process_left_is_swept_and_the_old_set_is_back(tmp_path, when):
    before = old_set(tmp_path)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), when], check=False)
    assert done.returncode == 9
    assert tree(tmp_path) != before
    write_whole(tmp_path / "other", "x")
    assert tree(tmp_path) == {**before, "other": b"x"}


def test_what_a_living_process_has_is_not_swept(tmp_path):
    with FileSet(tmp_path) as files:
        files.add(tmp_path / "d.wav").write_text("new")
        staging.sweep(tmp_path)
        publish(tmp_path, text="other")
    assert (tmp_path / "d.wav").read_text() == "new"


def test_a_kept_file_stays_and_can_be_compared(tmp_path):
    (tmp_path / "a.wav").write_text("old")
    with FileSet(tmp_path, keep=[tmp_path / "a.wav"]) as files:
        for name in ("a.wav", "b.wav"):
            files.add(tmp_path / name).write_text("new")
        assert files.written(tmp_path / "a.wav").read_text() == "new"
    assert tree(tmp_path) == {"a.wav": b"old", "b.wav": b"new"}


def leftover(folder: Path, *, host: str, age: float) -> Path:
    path = folder / f".mssctl-{host}-1-{'0' * 16}.part"
    path.mkdir()
    (path / "0.wav").write_text("half")
    for item in (path / "0.wav", path):
        os.utime(item, (time.time() - age,) * 2)
    assert is_leftover(path.name)
    return path


@pytest.mark.parametrize(
    ("here", "locks", "age", "kept"),
    [
        (True, True, 0.0, False),
        (False, True, 60.0, True),  # another machine's lock may be invisible here
        (False, True, 2 * 86_400.0, False),
        (True, False, 60.0, True),  # no lock can tell
        (True, False, 2 * 86_400.0, False),
    ],
)
def test_where_locks_cannot_tell_only_what_is_old_is_swept(
    tmp_path, monkeypatch, here, locks, age, kept
):
    path = leftover(tmp_path, host=staging._host() if here else "0" * 8, age=age)
    if not locks:

        def refuse(*_args, **_options):
            raise OSError(errno.ENOLCK, "no locks")

        monkeypatch.setattr(filelock, "lock_descriptor", refuse)
    staging.sweep(tmp_path)
    assert path.exists() == kept


def test_only_folders_of_this_form_are_swept(tmp_path):
    for name in (".mssctl-notes.part", f".mssctl-{staging._host()}-1-{'0' * 16}.part.txt"):
        (tmp_path / name).mkdir()
    target = leftover(tmp_path, host=staging._host(), age=0)
    moved = target.rename(tmp_path / "mine")
    target.symlink_to(moved)
    before = tree(tmp_path)
    staging.sweep(tmp_path)
    assert tree(tmp_path) == before


def test_an_old_file_that_cannot_be_put_back_is_not_removed(tmp_path):
    path = leftover(tmp_path, host=staging._host(), age=0)
    (path / "old").mkdir()
    (path / "old" / "0.wav").write_text("old")
    staging.sweep(tmp_path)
    assert (path / "old" / "0.wav").read_text() == "old"


def test_an_interrupt_during_the_cleanup_leaves_nothing(tmp_path, monkeypatch):
    calls = []
    remove = shutil.rmtree

    def interrupted(path, **settings):
        calls.append(path)
        if len(calls) == 1:
            raise KeyboardInterrupt
        remove(path, **settings)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt), FileSet(tmp_path) as files:
        files.add(tmp_path / "a").write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
