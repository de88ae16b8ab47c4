"""Sets whose stems are several files: MoisesDB, Slakh2100, label noise, and a table of names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mssctl.api.data import check
from mssctl.api.evaluate import evaluate
from mssctl.api.train import resume, train
from mssctl.config.schema import AudioConfig
from mssctl.data.layouts import list_songs
from mssctl.data.training_set import find_songs
from mssctl.errors import ExitCode, MssctlError

RATE = 8_000
FOUR = ("vocals", "drums", "bass", "other")
MOISES = (
    ("vocals", 2, False), ("bass", 1, False), ("drums", 2, True), ("percussion", 1, False),
    ("guitar", 1, False), ("piano", 1, False), ("other_keys", 1, False), ("wind", 1, False),
    ("vocals", 1, False),
)  # fmt: skip
SLAKH = ("Piano", "Bass", "Drums", "Synth Lead", "Guitar")


def wave(path: Path, frames: int = 6_000, *, channels: int = 2, rate: int = RATE) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(str(path.relative_to(path.parents[3])).encode()))
    audio = rng.integers(-2_000, 2_000, (frames, channels)).astype(np.int16)
    soundfile.write(path, audio, rate)
    return audio / 32_768


def leftovers(folder: Path) -> None:
    """What systems and archives leave behind."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (".DS_Store", "._vocals.wav", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"\0")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX/._data.json").write_bytes(b"\0")


def moises_song(folder: Path, rate: int = RATE) -> Path:
    stems = []
    for number, (name, count, bleed) in enumerate(MOISES):
        tracks = [
            {"id": f"{number}-{k}", "extension": "wav", "trackType": "x", "has_bleed": bleed}
            for k in range(count)
        ]
        for track in tracks:  # mono and stereo, of unequal length
            wave(folder / name / f"{track['id']}.wav", 6_000 - number, channels=1 + number % 2,
                 rate=rate)  # fmt: skip
        stems.append({"id": str(number), "stemName": name, "tracks": tracks})
    document = {"song": folder.name, "artist": "A", "genre": "rock", "stems": stems}
    (folder / "data.json").write_text(json.dumps(document))
    leftovers(folder)
    return folder


def slakh_song(folder: Path, rate: int = RATE) -> Path:
    lines, total = ["UUID: x", "stems:"], np.zeros((6_000, 1))
    for number, name in enumerate(SLAKH):
        total += wave(folder / "stems" / f"S{number:02}.flac", channels=1, rate=rate)
        lines += [f"  S{number:02}:", "    audio_rendered: true", f"    inst_class: {name}",
                  f"    is_drum: {str(name == 'Drums').lower()}"]  # fmt: skip
    lines += ["  S09:", "    audio_rendered: false", "    inst_class: Organ", "    is_drum: false"]
    (folder / "metadata.yaml").write_text("\n".join(lines) + "\n")
    soundfile.write(folder / "mix.flac", total, rate)
    (folder / "MIDI").mkdir()
    leftovers(folder)
    return folder


def noisy_song(folder: Path, rate: int = RATE) -> Path:
    for stem in FOUR:
        for number in (1, 2):
            wave(folder / f"{stem}_{number}.wav", rate=rate)
    leftovers(folder)
    return folder


def mapped_song(folder: Path, rate: int = RATE) -> Path:
    for name in ("Lead Vox", "Kick", "Snare", "Bass DI", "Click", "Keys/left", "Keys/right"):
        wave(folder / "audio" / f"{name}.WAV", rate=rate)
    leftovers(folder)
    return folder


TABLE = ["*vox=vocals", "kick=drums", "snare=drums", "bass*=bass", "keys=other", "click=-"]
KINDS = {
    "moisesdb": (moises_song, FOUR, []),
    "slakh": (slakh_song, ("drums", "bass", "piano", "other"), []),
    "labelnoise": (noisy_song, FOUR, []),
    "mapped": (mapped_song, FOUR, TABLE),
}

TOY = """
audio: {sample_rate: 8000, channels: CHANNELS, stems: [STEMS]}
stft: {n_fft: 512, hop_length: 256}
model: {name: tf_locoformer, freqs_per_bands: [32, 32, 64, 129], n_layers: 1, emb_dim: 8,
        attention_dim: 8, n_heads: 2, ffn_hidden_dim: [8, 8], num_groups: 2, mask_expansion: 1}
loss: {spectral_n_fft: [256]}
training: {num_epochs: 1, steps_per_epoch: 2, segment_length: 4096, batch_size: 1,
           amp_dtype: float32, num_workers: 0}
"""


def a_set(root: Path, kind: str) -> Path:
    make = KINDS[kind][0]
    for place in ("train/one", "train/two", "validation/three", "test/four"):
        make(root / place)
    leftovers(root / "train")
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_a_set_is_checked_trained_on_and_evaluated(tmp_path, kind):
    root, (_, stems, table) = a_set(tmp_path / "set", kind), KINDS[kind]
    checked = check([root], stems=stems, stem_map=table)
    assert (checked.failures, checked.roots[0].layout) == ([], kind)
    assert checked.roots[0].songs == {"train": 2, "valid": 1, "test": 1}
    assert all(set(hours) == {*stems, *hours} for hours in checked.roots[0].hours.values())
    assert not [found for found in checked.findings if found.kind in ("missing", "mixture")]
    preset = tmp_path / "toy.yaml"
    channels = "1" if kind == "slakh" else "2"
    preset.write_text(TOY.replace("STEMS", ", ".join(stems)).replace("CHANNELS", channels))
    run = tmp_path / "run"
    done = train(str(preset), data=root, stem_map=table, out=run, device="cpu")
    assert done.finished
    assert resume(run, device="cpu").finished  # with the table of data.json
    result = evaluate(
        name=done.model, reference=root / "test", stem_map=table, device="cpu", metrics="si_sdr"
    )
    assert (result.tracks, result.failures) == (1, [])
    assert set(json.loads((run / "data.json").read_text()).get("stem_map", {})) == {
        item.partition("=")[0] for item in table
    }


@pytest.mark.parametrize(
    ("stems", "groups"),
    [
        (FOUR, {"drums": 3, "other": 4, "bass": 1, "vocals": 3}),
        ((*FOUR, "piano"), {"drums": 3, "other": 2, "bass": 1, "vocals": 3, "piano": 2}),
        ((*FOUR, "piano", "guitar"),
         {"drums": 3, "other": 1, "bass": 1, "vocals": 3, "piano": 2, "guitar": 1}),
    ],
)  # fmt: skip
def test_the_stems_of_a_model_decide_how_moisesdb_is_grouped(tmp_path, stems, groups):
    moises_song(tmp_path / "set/a")
    (song,) = list_songs(tmp_path / "set", stems, splits=["train"]).splits["train"]
    assert {stem: len(paths) for stem, paths in song.parts.items()} == groups


def test_a_stem_is_the_sum_of_its_files_to_the_longest(tmp_path):
    folder = moises_song(tmp_path / "set/a")
    (song,) = list_songs(tmp_path / "set", FOUR, splits=["train"]).splits["train"]
    parts = [
        soundfile.read(folder / name, always_2d=True)[0]
        for name in ("drums/2-0.wav", "drums/2-1.wav", "percussion/3-0.wav")
    ]
    wanted = np.zeros((6_000, 2))
    for part in parts:
        wanted[: len(part)] += part
    found, _ = soundfile.read(song.unpacked().stems["drums"], always_2d=True)
    np.testing.assert_allclose(found, wanted, atol=1e-7)


def test_a_sum_is_made_again_when_a_file_changes(tmp_path):
    folder = noisy_song(tmp_path / "set/a")
    (song,) = list_songs(tmp_path / "set", FOUR, splits=["train"]).splits["train"]
    before = song.unpacked().stems["bass"]
    assert song.unpacked().stems["bass"] == before
    wave(folder / "bass_2.wav", 6_001)
    assert song.unpacked().stems["bass"] != before


def test_bleed_and_what_the_model_has_no_stem_for_are_reported(tmp_path):
    moises_song(tmp_path / "set/a")
    stems = ("vocals", "drums")
    listing = list_songs(tmp_path / "set", stems, splits=["train"])
    place = tmp_path / "set"
    left = "a/bass/1-0.wav, a/guitar/4-0.wav, a/piano/5-0.wav, a/other_keys/6-0.wav, a/wind/7-0.wav"
    bleed = "2 files with bleed of other instruments used: a/drums/2-0.wav, a/drums/2-1.wav"
    assert listing.skipped == [
        f"{place}: 5 files for which the model has no stem left out: {left}",
        f"{place}: {bleed}",
    ]
    table = {"*+bleed": "-"}
    (song,) = list_songs(place, stems, splits=["train"], table=table).splits["train"]
    assert [path.parent.name for path in song.parts["drums"]] == ["percussion"]


def test_what_slakh_did_not_render_is_reported(tmp_path):
    slakh_song(tmp_path / "set/a")
    listing = list_songs(tmp_path / "set", ("bass", "other"), splits=["train"])
    assert "1 file that the set has not rendered left out: a/stems/S09.flac" in str(listing.skipped)


def test_files_that_no_name_fits_are_reported(tmp_path):
    mapped_song(tmp_path / "set/a")
    table = {"*vox": "vocals", "keys": "other"}
    listing = list_songs(tmp_path / "set", FOUR, splits=["train"], table=table)
    assert "4 files that no name fits skipped" in str(listing.skipped)


def broken(tmp_path: Path, kind: str, change) -> str:
    """The one sentence that training ends with."""
    root = a_set(tmp_path / "set", kind)
    change(root / "train/one")
    audio = AudioConfig(sample_rate=RATE, stems=KINDS[kind][1])
    with pytest.raises(MssctlError) as caught:
        find_songs([root], audio)
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    return str(caught.value.message)


def write_moises(folder: Path, **changes) -> None:
    document = json.loads((folder / "data.json").read_text())
    (folder / "data.json").write_text(json.dumps(document | changes))


@pytest.mark.parametrize(
    ("kind", "change", "sentence"),
    [
        ("moisesdb", lambda f: (f / "bass/1-0.wav").unlink(), "1-0.wav: no such file, but data"),
        ("moisesdb", lambda f: (f / "data.json").write_text("{"), "data.json"),
        ("moisesdb", lambda f: write_moises(f, stems=3), "damaged: 'stems' is missing"),
        ("moisesdb",
         lambda f: write_moises(f, stems=[{"stemName": "kazoo", "tracks": [
             {"id": "a", "extension": "wav"}]}]),
         "unknown stem 'kazoo'"),
        ("moisesdb",
         lambda f: write_moises(f, stems=[{"stemName": "..", "tracks": [
             {"id": "a", "extension": "wav"}]}]),
         "damaged: 'stemName'"),
        ("moisesdb", lambda f: wave(f / "bass/1-0.wav", rate=16_000), "16000 Hz"),
        ("slakh", lambda f: (f / "stems/S01.flac").unlink(), "S01.flac: no such file, but meta"),
        ("slakh", lambda f: (f / "metadata.yaml").write_text("stems: ["), "metadata.yaml"),
        ("slakh", lambda f: (f / "metadata.yaml").write_text("stems: 3"), "damaged: 'stems'"),
        ("slakh",
         lambda f: (f / "metadata.yaml").write_text(
             (f / "metadata.yaml").read_text().replace("Guitar", "Kazoo")),
         "unknown stem 'Kazoo'"),
        ("slakh", lambda f: wave(f / "stems/S01.flac", channels=1, rate=16_000), "16000 Hz"),
        ("labelnoise", lambda f: wave(f / "bass_1.wav", rate=16_000), "16000 Hz"),
        ("labelnoise", lambda f: (f / "bass_1.wav").write_bytes(b"x"), "bass_1.wav"),
    ],
)  # fmt: skip
def test_a_broken_set_is_refused_with_one_sentence(tmp_path, kind, change, sentence):
    assert sentence in broken(tmp_path, kind, change)


def test_songs_of_a_test_split_are_out_of_reach(tmp_path):
    root = a_set(tmp_path / "set", "moisesdb")
    audio = AudioConfig(sample_rate=RATE)
    with pytest.raises(MssctlError, match="a test split is not for training"):
        find_songs([root / "test"], audio, valid=root / "validation")
    (root / "train/linked").symlink_to(root / "test/four")
    with pytest.raises(MssctlError, match="a test split is not for training"):
        find_songs([root], audio)


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (["kick"], "kick"),
        (["kick="], "not a table of names"),
        (["kick=drumz"], "the model has no stem 'drumz'"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(tmp_path, table, sentence):
    mapped_song(tmp_path / "set/a")
    with pytest.raises(MssctlError, match=sentence):
        check([tmp_path / "set"], stem_map=table)


def test_a_table_may_be_a_yaml_file(tmp_path):
    mapped_song(tmp_path / "set/a")
    names = tmp_path / "names.yaml"
    names.write_text("'*vox': vocals\nkeys: other\n'bass*': bass\n'[ks]*': drums\nclick: '-'\n")
    assert check([tmp_path / "set"], stem_map=[names]).roots[0].layout == "mapped"


def test_a_root_with_splits_is_no_reference_and_the_splits_are_named(tmp_path):
    root = a_set(tmp_path / "set", "moisesdb")
    with pytest.raises(MssctlError, match="no reference tracks") as caught:
        evaluate(oracle="mixture", reference=root)
    assert str(root / "test") in str(caught.value.hint)


def test_without_a_table_other_names_lead_to_it(mssctl, tmp_path):
    mapped_song(tmp_path / "set/a")
    assert "--stem-map takes other names" in mssctl("data", "check", tmp_path / "set").stderr


def test_a_table_that_nothing_reads_is_refused(tmp_path, make_song):
    make_song(tmp_path / "set/a")
    with pytest.raises(MssctlError, match="`stem_map` does nothing with `musdb`"):
        evaluate(oracle="mixture", musdb=tmp_path / "set", stem_map=["a=vocals"])
    with pytest.raises(MssctlError, match="does nothing with the layout stems"):
        check([tmp_path / "set"], layout="stems", stem_map=["a=vocals"])
