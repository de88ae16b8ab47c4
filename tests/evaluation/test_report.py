"""The page about an evaluation: whole in itself, honest about names, alive in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile as sf

from mssctl.api.evaluate import evaluate
from mssctl.errors import MssctlError
from mssctl.evaluation.excerpts import loudest
from mssctl.evaluation.report import report
from mssctl.pages import plots

RATE = 8_000
EVIL = "<script>alert(1)</script> & 'co'"
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An evaluation of two tracks of two seconds, one of an unfriendly name."""
    root = tmp_path_factory.mktemp("report")
    for seed, track in enumerate(("a", EVIL.replace("/", "_"))):
        rng = np.random.default_rng(seed)
        stems = {stem: 0.1 * rng.standard_normal((2 * RATE, 2)) for stem in ("vocals", "drums")}
        for kind, leak in (("songs", 0.0), ("est", 0.2)):
            path = root / kind / track
            path.mkdir(parents=True)
            for stem, audio in stems.items():
                sf.write(path / f"{stem}.wav", audio + leak * sum(stems.values()), RATE)
        sf.write(root / "songs" / track / "mixture.wav", sum(stems.values()), RATE)
    evaluate(
        estimates=root / "est",
        reference=root / "songs",
        metrics="all",
        window=0.5,
        hop=0.5,
        out=root / "out",
        html=root / "report.html",
    )
    return root


class Links(HTMLParser):
    """Everything that a browser would fetch, and every element."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.elements: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "data", "srcset", "poster"):
                self.fetched.append(value or "")


def parsed(page: str) -> Links:
    links = Links()
    links.feed(page)
    return links


def heard(root) -> dict[str, list[tuple[str, int | None]]]:
    """The tracks that have a listening page, and its sounds: stem and number of the take."""
    found = {}
    for path in sorted((root / "report-sounds").glob("*/index.html")):
        text = path.read_text(encoding="utf-8")
        (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
        page = json.loads(data)
        found[page["title"]] = [(track["stem"], track["take"]) for track in page["tracks"]]
    return found


def heard_in(out, tmp_path):
    """The same of a report that is made now."""
    _, _, write_sounds = report(out, tmp_path / "report.html")
    (tmp_path / "report-sounds").mkdir()
    write_sounds(tmp_path / "report-sounds", tmp_path / "report-sounds")
    return heard(tmp_path)


def test_the_page_needs_nothing_but_its_sounds(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    links = parsed(page)
    assert len(set(links.fetched)) == 2
    assert all((folder / link).is_file() for link in links.fetched)
    assert "@import" not in page
    assert "url(" not in page.replace("url(#", "")
    assert not re.search("https?:", re.sub(r'xmlns(:xlink)?="[^"]*"', "", page))
    both = [("mixture", None), ("vocals", 0), ("drums", 0), ("vocals", 1), ("drums", 1)]
    assert heard(folder) == {"a": both, EVIL.replace("/", "_"): both}


def test_names_are_text(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_report_is_that_of_the_folder_alone(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.startswith(report(folder / "out", folder / "report.html")[0])
    summary = json.loads((folder / "out" / "summary.json").read_text(encoding="utf-8"))
    shown = f"{summary['means']['vocals']['sdr']['estimate']:.2f}".replace("-", "−")
    assert f"<td>{shown}</td>" in page


def test_without_excerpts_there_are_no_players(folder, tmp_path):
    shutil.copytree(folder / "out", tmp_path / "out", ignore=shutil.ignore_patterns("excerpts"))
    page, _, write_sounds = report(tmp_path / "out", tmp_path / "report.html")
    assert write_sounds is None
    assert parsed(page).fetched == []


@pytest.mark.parametrize(("value", "shown"), [(None, "–")])
def test_a_score_that_is_no_number_is_shown_and_not_drawn(folder, tmp_path, value, shown):
    shutil.copytree(folder / "out", tmp_path / "out")
    path = tmp_path / "out" / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    first = summary["scores"][0]
    for item in summary["scores"]:
        if item["track"] == first["track"]:
            item["metrics"]["sdr"]["estimate"] = value
    del summary["checksum"]  # a document of an earlier version
    path.write_text(json.dumps(summary), encoding="utf-8")
    page, _, _ = report(tmp_path / "out", tmp_path / "report.html")
    assert f"<td>{shown}</td>" in page
    assert f"{first['stem']} (1)" in page


def test_an_excerpt_that_misses_files_shows_the_others(folder, tmp_path):
    shutil.copytree(folder / "out", tmp_path / "out")
    (tmp_path / "out" / "excerpts" / "a" / "mixture.flac").unlink()
    (tmp_path / "out" / "excerpts" / "a" / "vocals.reference.flac").unlink()
    shown = [("drums", 0), ("vocals", 0), ("drums", 1)]
    assert sorted(heard_in(tmp_path / "out", tmp_path)["a"]) == sorted([*shown])


def test_a_stem_that_was_not_scored_has_no_players(folder, tmp_path):
    shutil.copytree(folder / "out", tmp_path / "out")
    path = tmp_path / "out" / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    assert summary["scores"][0]["stem"] == "vocals"
    gone = summary["scores"].pop(0)["track"]
    del summary["checksum"]  # a document of an earlier version
    path.write_text(json.dumps(summary), encoding="utf-8")
    left = [("mixture", None), ("drums", 0), ("drums", 1)]
    assert heard_in(tmp_path / "out", tmp_path)[gone] == left


def test_six_channels_can_be_heard(folder, tmp_path):
    shutil.copytree(folder / "out", tmp_path / "out")
    for path in (tmp_path / "out" / "excerpts" / "a").iterdir():
        sf.write(path, np.zeros((RATE, 6)), RATE)
    assert len(heard_in(tmp_path / "out", tmp_path)["a"]) == 5


def test_an_evaluation_that_is_not_whole_has_no_report(folder, tmp_path):
    shutil.copytree(folder / "out", tmp_path / "out")
    (tmp_path / "out" / "test" / "a.json").unlink()
    with pytest.raises(MssctlError, match="no whole evaluation"):
        report(tmp_path / "out", tmp_path / "report.html")


def test_the_plots_are_files_as_well(folder):
    names = {path.name for path in (folder / "out" / "plots").iterdir()}
    assert {"sdr.svg", "SIR.svg", "a over time.svg"} <= names
    for path in (folder / "out" / "plots").iterdir():
        ET.fromstring(path.read_text(encoding="utf-8"))


SVG = "{http://www.w3.org/2000/svg}"


def drawn(text: str) -> list[tuple[str, list[tuple[float, float]]]]:
    """Each path and marker of a plot: its style, and the points it goes through."""
    found = []
    for item in ET.fromstring(text).iter():
        if item.tag == f"{SVG}path" and "clip-path" in item.attrib:
            numbers = re.findall(r"(-?[\d.]+) (-?[\d.]+)", item.attrib["d"])
            found.append((item.attrib["style"], [(float(x), float(y)) for x, y in numbers]))
        elif item.tag == f"{SVG}use" and "style" in item.attrib:
            place = (float(item.attrib["x"]), float(item.attrib["y"]))
            found.append((item.attrib["style"], [place]))
    return found


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0], [-90.0, 3.0, 4.0], list(range(50))])
def test_every_dot_and_box_lies_inside_the_plot(values):
    text = plots.box_plot({"vocals": values, "none": []}, "t", "dB")
    height = float(ET.fromstring(text).attrib["viewBox"].split()[3])
    dots = [points for style, points in drawn(text) if len(points) == 1]
    assert len(dots) == len(values)
    ys = [y for _, points in drawn(text) for _, y in points]
    assert min(ys) >= 0.0
    assert max(ys) <= height
    assert ">none" not in text


def test_the_box_is_of_the_scores_and_not_of_where_they_are_drawn():
    """The median of -90 and 10 is -40: below the plot, so at its edge, not in the middle."""
    text = plots.box_plot({"vocals": [-90.0, 10.0]}, "t", "dB")
    edge = max(points[0][1] for _, points in drawn(text) if len(points) == 1)
    (median,) = [points for style, points in drawn(text) if "stroke-width: 2.5" in style]
    assert median[0][1] == median[1][1] == edge
    assert "median -40.00 dB" in text


@pytest.mark.parametrize("name", ["A$AP $x", "歌", "a\\1b\\q", "bad\udcff", "a\tb\x01", EVIL, "_a"])
def test_any_name_can_be_drawn(name):
    texts = [
        plots.box_plot({name: [1.0, 2.0]}, name, "dB"),
        plots.over_time({name: [(0.0, 1.0), (1.0, 2.0)]}, name, "dB"),
    ]
    for text in texts:
        shown = "".join(c if c.isprintable() else "\ufffd" for c in name)
        words = [item.text or "" for item in ET.fromstring(text.encode("utf-8")).iter()]
        assert sum(shown in word for word in words) >= 2  # the title and the name


def test_what_lies_below_is_drawn_at_the_edge_and_never_beyond():
    for text in (
        plots.over_time({"a": [(0.0, -40.0), (1.0, -90.0)]}, "t", "dB"),
        plots.over_time({"a": [(0.0, 5.0), (1.0, -90.0)]}, "t", "dB"),
    ):
        height = float(ET.fromstring(text).attrib["viewBox"].split()[3])
        ys = [y for _, points in drawn(text) for _, y in points]
        assert 0.0 <= min(ys) <= max(ys) <= height


def test_plots_are_the_same_each_time_and_take_the_color_of_the_page():
    one, two = (plots.box_plot({"vocals": [1.0, 2.0]}, "t", "dB") for _ in range(2))
    assert one == two
    assert "currentColor" in one
    assert plots._INK not in one


def test_a_metric_of_another_version_is_not_plotted_as_decibels(folder, tmp_path):
    shutil.copytree(folder / "out", tmp_path / "out")
    path = tmp_path / "out" / "summary.json"
    summary = json.loads(path.read_text(encoding="utf-8"))
    summary["definitions"]["loudness"] = "in sone"
    for item in summary["scores"]:
        item["metrics"]["loudness"] = {"estimate": 3.0}
    del summary["checksum"]  # a document of an earlier version
    path.write_text(json.dumps(summary), encoding="utf-8")
    plot = report(tmp_path / "out", tmp_path / "report.html")[1]["loudness.svg"]
    assert "dB" not in plot
    assert "dB" in report(tmp_path / "out", tmp_path / "report.html")[1]["sdr.svg"]


@pytest.mark.parametrize("count", [1, 4, 6, 20])
def test_every_name_of_the_legend_lies_inside_the_plot(count):
    names = [f"stem {number} of some length" for number in range(count)]
    text = plots.over_time({name: [(0.0, 1.0), (1.0, 2.0)] for name in names}, "t", "dB")
    root = ET.fromstring(text)
    wide, height = (float(x) for x in root.attrib["viewBox"].split()[2:])
    found = {item.text: item for item in root.iter(f"{SVG}text")}
    for name in names:
        assert float(found[name].attrib["x"]) + 4 * len(name) <= wide
        assert float(found[name].attrib["y"]) <= height


def test_a_line_breaks_where_there_is_no_score():
    series = [(0.0, 1.0), (1.0, 1.5), (2.0, None), (3.0, 3.0), (4.0, 2.0)]
    text = plots.over_time({"a": series}, "t", "dB")
    paths = [item.attrib["d"] for item in ET.fromstring(text).iter(f"{SVG}path")]
    assert any(path.count("M") == 2 for path in paths)


def test_the_quartiles_of_every_metric_are_a_table(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    summary = json.loads((folder / "out" / "summary.json").read_text(encoding="utf-8"))
    values = [i["metrics"]["sdr"]["estimate"] for i in summary["scores"] if i["stem"] == "drums"]
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    numbers = [f"{x:.2f}".replace("-", "−") for x in (middle, np.mean(values), low, high)]
    cells = "".join(f"<td>{cell}</td>" for cell in ["SDR", *numbers, "2"])
    assert f'<tr><th scope="row">drums</th>{cells}</tr>' in page


def test_the_loudest_seconds_are_chosen():
    audio = np.zeros((1, 100))
    audio[0, 62:70] = 1.0
    assert loudest(audio, 10, 5) == 60
    assert loudest(audio[:, :7], 10, 5) == 0


def browsed(path, tmp_path):
    """The page as the browser has it in the end, and what it wrote to its console."""
    command = [
        str(BROWSER),
        *"--headless --no-sandbox --disable-gpu --disable-dev-shm-usage".split(),
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=400,900",
        "--virtual-time-budget=20000",
        "--enable-logging=stderr",
        "--dump-dom",
        path.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(BROWSER is None, reason="needs chromium or chrome")
def test_under_its_own_policy_the_console_stays_empty(folder, tmp_path):
    """Whatever the policy of the page forbids would be a line on the console."""
    dom, console = browsed(folder / "report.html", tmp_path)
    assert console == []
    assert dom.count("<svg") > 4


@pytest.mark.skipif(BROWSER is None, reason="needs chromium or chrome")
def test_the_console_is_really_read(folder, tmp_path):
    page = (folder / "report.html").read_text(encoding="utf-8")
    path = tmp_path / "page.html"
    path.write_text(page.replace("<body>", '<body><img src="other.png">'), encoding="utf-8")
    _, console = browsed(path, tmp_path)
    assert len(console) == 1
    assert "Content Security Policy" in console[0]


@pytest.mark.skipif(BROWSER is None, reason="needs chromium or chrome")
def test_the_index_is_sorted_and_searched_in_a_browser(folder, tmp_path):
    page = (folder / "report.html").read_text(encoding="utf-8")
    probe = """<script>
      const faults = [];
      window.addEventListener("error", event => faults.push(String(event.message)), true);
      window.addEventListener("load", () => {
        const column = index => [...table.tBodies[0].rows]
          .filter(row => !row.hidden).map(row => row.cells[index].textContent);
        const buttons = table.tHead.querySelectorAll("button");
        const found = { faults, first: column(2) };
        buttons[2].click(); found.falls = column(2);
        buttons[2].click(); found.rises = column(2);
        buttons[1].click(); found.stems = column(1);
        const search = document.getElementById("search");
        search.value = "A voc"; search.dispatchEvent(new Event("input"));
        found.searched = column(1);
        found.told = document.getElementById("found").textContent;
        found.wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
        document.body.setAttribute("data-found", JSON.stringify(found));
      });
    </script>"""
    first = page.index("<td>", page.index('id="index"'))
    path = tmp_path / "page.html"
    page = page[:first] + page[first:].replace("<td>", "<td>–<!--", 1).replace(
        "</td>", "--></td>", 1
    )
    path.write_text(page.replace("<body>", f"<body>{probe}"), encoding="utf-8")
    dom, console = browsed(path, tmp_path)
    (text,) = re.findall(r'data-found="([^"]*)"', dom)
    found = json.loads(text.replace("&quot;", '"'))
    assert found["faults"] == console == []
    values = sorted(float(x.replace("−", "-")) for x in found["first"] if x != "–")
    shown = [f"{x:.2f}".replace("-", "−") for x in values]
    assert len(shown) == 3
    assert found["falls"] == [*shown[::-1], "–"]  # a missing score is last, whatever the order
    assert found["rises"] == [*shown, "–"]
    assert found["stems"] == ["drums", "drums", "vocals", "vocals"]
    assert set(found["searched"]) == {"vocals"}
    assert found["told"] == f"{len(found['searched'])} of 4"
    assert found["wide"] <= 0


def test_the_sounds_are_bounded_and_the_bound_is_stated(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Every track can be heard, the 8 loudest seconds: together at most 100 MB." in page
    size = sum(path.stat().st_size for path in (folder / "report-sounds").rglob("*.*"))
    assert size < 2 * 3_000_000


def test_of_many_tracks_some_can_be_heard_from_the_best_to_the_worst(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("mssctl.evaluation.report.LISTENED", 1)
    shutil.copytree(folder / "out", tmp_path / "out")
    assert len(heard_in(tmp_path / "out", tmp_path)) == 1
    page, _, _ = report(tmp_path / "out", tmp_path / "report.html")
    assert "1 of 2 tracks can be heard" in page


def test_a_folder_in_the_place_of_the_sounds_is_refused_before_any_work(folder, tmp_path):
    (tmp_path / "page-sounds").mkdir()
    (tmp_path / "page-sounds" / "mine").write_text("x")
    where = {"estimates": folder / "est", "reference": folder / "songs", "out": tmp_path / "out"}
    with pytest.raises(MssctlError, match="page-sounds"):
        evaluate(**where, html=tmp_path / "page.html", overwrite=True)
    assert not (tmp_path / "out").exists()
    assert (tmp_path / "page-sounds" / "mine").read_text() == "x"


def test_a_report_is_replaced_with_its_sounds(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "all")
    root = tmp_path / "all"
    before = sorted((root / "report-sounds").rglob("*.*"))
    where = {"estimates": root / "est", "reference": root / "songs", "out": root / "again"}
    for _ in range(2):
        evaluate(**where, html=root / "report.html", overwrite=True)
        assert sorted((root / "report-sounds").rglob("*.*")) == before
