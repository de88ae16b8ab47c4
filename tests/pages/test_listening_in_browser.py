"""The listening page in Chromium, from ``file://``: it plays, and it can be played by anyone."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from shutil import which

import numpy as np
import pytest
import soundfile as sf

from conftest import BROWSERS
from mssctl.pages.listening import write
from mssctl.pages.listening.tracks import Take

pytestmark = pytest.mark.browser
RATE = 32_000
SECONDS = 66
MODELS = ["a model", "model two", "third"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two stems of more than a minute by three models, and the mixture; a page about them."""
    root = tmp_path_factory.mktemp("listen")
    time_ = np.arange(SECONDS * RATE) / RATE
    rng = np.random.default_rng(0)
    sounds = {
        "vocals": 0.3 * np.sin(2 * np.pi * (300 + 4 * time_) * time_),
        "drums": 0.3 * rng.standard_normal(len(time_)) * np.exp(-9 * (time_ % 0.5)),
    }
    takes = []
    for number, name in enumerate(MODELS):
        files = {}
        for stem, sound in sounds.items():
            files[stem] = root / name / f"{stem}.wav"
            files[stem].parent.mkdir(exist_ok=True)
            sf.write(files[stem], (1.0 - 0.2 * number) * sound, RATE)
        takes.append(Take(name, files, "MIT", 10.0 + number))
    sf.write(root / "mixture.wav", sum(sounds.values()), RATE)
    write(root / "compare", "A song", takes, root / "mixture.wav")
    write(root / "one", "A song", takes[:1], root / "mixture.wav")
    return root


@pytest.fixture(scope="module")
def browser():
    sync = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    program = next(filter(None, map(which, BROWSERS)))
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser, path, width=1280, height=900, **more):
    """A page; afterwards its console must be empty, and nothing but files were asked for."""
    context = browser.new_context(viewport={"width": width, "height": height}, **more)
    page = context.new_page()
    told, asked = [], []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((path / "index.html").as_uri())
    yield page
    context.close()
    assert told == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    assert any("chunk-000.js" in url for url in asked)


@pytest.fixture
def one(browser, folder):
    with opened(browser, folder / "one") as page:
        yield page


@pytest.fixture
def compare(browser, folder):
    with opened(browser, folder / "compare") as page:
        yield page


def position(page) -> float:
    return page.evaluate("player.position / rate")


def gains(page) -> dict[str, float]:
    """What is asked of each track: name and number of the take -> factor."""
    found = page.evaluate("tracks.map((t, i) => [t.stem, t.take, player.gainOf(i)])")
    return {f"{stem} {take}" if take is not None else stem: gain for stem, take, gain in found}


def until(page, expression: str, seconds: float = 15.0) -> None:
    """Wait for a condition. (Playwright's own way needs eval, which the page's policy forbids.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)


def playing(page):
    page.click("#play")
    until(page, "player.pieces.length > 0")


LOUDNESS = """() => {
  window.meter ??= new AnalyserNode(player.context, {fftSize: 2048});
  player.master.connect(window.meter);
  const samples = new Float32Array(2048);
  window.meter.getFloatTimeDomainData(samples);
  return Math.max(...samples.map(Math.abs));
}"""


def test_it_is_usable_at_once_and_sounds_a_second_after_play(browser, folder):
    begun = time.perf_counter()
    with opened(browser, folder / "one") as page:
        page.click("#play")
        assert time.perf_counter() - begun < 4.0  # on a quiet machine 2
        begun = time.perf_counter()
        until(page, f"player.context && ({LOUDNESS})() > 0.01")
        assert time.perf_counter() - begun < 2.0  # on a quiet machine 1
        page.click("#play")
        page.wait_for_timeout(150)
        stopped = position(page)
        page.wait_for_timeout(300)
        assert position(page) == stopped > 0
        assert page.evaluate(LOUDNESS) < 0.01


CHECK = """async (track) => {
  // All chunks of a track, scheduled as for playing, against the whole track in one decode.
  const offline = new OfflineAudioContext(data.channels, frames, rate);
  const outputs = tracks.map((_, i) => new GainNode(offline, {gain: i === track ? 1 : 0}));
  for (const output of outputs) output.connect(offline.destination);
  for (let index = 0; index < chunk.count; index++) {
    chunks.kept = [index];
    await chunks.want(index);
    const length = Math.min(chunk.frames, frames - index * chunk.frames);
    const piece = {start: index * chunk.frames, offset: 0, length, jumps: {}};
    schedule(offline, outputs, chunks.held.get(index), piece);
  }
  const found = (await offline.startRendering()).getChannelData(0);
  const bytes = await (await assembled(track, () => {})).arrayBuffer();
  const context = new OfflineAudioContext(1, 1, rate);
  const whole = (await context.decodeAudioData(bytes)).getChannelData(0);
  const skip = (await chunks.skip) - data.mp3.preroll * data.mp3.frame;
  const worst = (by) => {
    let [error, peak] = [0, 0];
    for (let i = 8; i < frames - 8; i++) {
      error = Math.max(error, Math.abs(found[i] - whole[i + skip + by]));
      peak = Math.max(peak, Math.abs(whole[i + skip]));
    }
    return error / peak;
  };
  return [worst(-1), worst(0), worst(1), chunk.count, skip];
}"""


@pytest.mark.parametrize("track", [1, 2])
def test_no_gap_and_no_click_at_a_seam(one, track):
    before, there, after, count, skip = one.evaluate(CHECK, track)
    assert count >= 5
    assert skip == 1105  # what this browser leaves of the decoder's delay: all of it
    assert 20 * math.log10(max(there, 1e-9)) < -60
    assert min(before, after) > 10 * there  # it would be seen


LOG = """() => {
  window.log = [];
  const start = AudioBufferSourceNode.prototype.start;
  AudioBufferSourceNode.prototype.start = function (when, offset) {
    window.log.push([when * rate, offset * rate, this.buffer.length, this.context.currentTime]);
    return start.call(this, when, offset);
  };
}"""


def test_all_tracks_start_each_piece_at_one_sample_of_the_clock(compare):
    """Chunks follow each other without a gap, on whole samples, also through a loop."""
    compare.evaluate(LOG)
    compare.evaluate("setLoop(10, 16)")
    compare.evaluate("go(10)")
    playing(compare)
    compare.wait_for_timeout(1500)
    log = compare.evaluate("log")
    tracks = compare.evaluate("tracks.length")
    groups = [log[i : i + tracks] for i in range(0, len(log), tracks)]
    assert len(groups) >= 4
    for group in groups:
        assert len({(when, offset) for when, offset, *_ in group}) == 1
        assert abs(group[0][0] - round(group[0][0])) < 1e-3
    length = compare.evaluate("chunk.frames")
    spans, at = [], 10 * RATE
    while len(spans) < len(groups):
        end = min((at // length + 1) * length, 16 * RATE)
        spans.append((at % length, end - at))
        at = end if end < 16 * RATE else 10 * RATE
    clock = groups[0][0][0]
    for group, (offset, samples) in zip(groups, spans, strict=True):
        assert group[0][0] == pytest.approx(clock, abs=0.01)
        assert group[0][1] == pytest.approx(offset, abs=0.01)
        clock += samples


RECORD = """() => {
  // What two tracks send out, as the audio thread computes it.
  const node = player.context.createScriptProcessor(4096, 2, 1);
  const merger = new ChannelMergerNode(player.context, {numberOfInputs: 2});
  player.run.gains[1].connect(merger, 0, 0);
  player.run.gains[3].connect(merger, 0, 1);
  merger.connect(node);
  node.connect(player.context.destination);
  window.worst = window.loudest = window.heard = 0;
  node.onaudioprocess = (event) => {
    const [one, two] = [0, 1].map((c) => event.inputBuffer.getChannelData(c));
    for (let i = 0; i < one.length; i++) {
      window.worst = Math.max(window.worst, Math.abs(one[i] - two[i]));
      window.loudest = Math.max(window.loudest, Math.abs(one[i]));
    }
    window.heard += one.length / rate;
  };
}"""


@pytest.mark.slow  # plays a minute
def test_after_a_minute_stems_are_still_in_sync(browser, folder, tmp_path):
    """One sound as two stems: what they send out stays the same to the last bit."""
    stems = dict.fromkeys(("a", "b", "c"), folder / MODELS[0] / "drums.wav")
    write(tmp_path / "page", "sync", [Take("m", stems)], folder / "mixture.wav")
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "page" / "index.html").as_uri())
    playing(page)
    page.evaluate(RECORD)
    until(page, "player.position / rate > 62", 90.0)
    worst, loudest, heard = page.evaluate("[worst, loudest, heard]")
    context.close()
    assert loudest > 0.3
    assert heard > 50
    assert worst < 1e-6


def test_mute_solo_volume_and_the_mixture(one):
    def press(stem, name):
        one.click(f".track[data-stem={stem}] [data-do={name}]")

    assert gains(one) == {"mixture": 0, "vocals 0": 1, "drums 0": 1}
    press("drums", "mute")
    assert gains(one) == {"mixture": 0, "vocals 0": 1, "drums 0": 0}
    assert one.get_attribute(".track[data-stem=drums] [data-do=mute]", "aria-pressed") == "true"
    press("drums", "mute")
    press("drums", "solo")
    assert gains(one) == {"mixture": 0, "vocals 0": 0, "drums 0": 1}
    press("drums", "solo")
    one.fill(".track[data-stem=vocals] [data-do=volume]", "-20")
    assert gains(one)["vocals 0"] == pytest.approx(0.1)
    one.fill(".track[data-stem=vocals] [data-do=volume]", "-40")
    assert gains(one)["vocals 0"] == 0
    one.check("#hear [value=mixture]")
    assert gains(one) == {"mixture": 1, "vocals 0": 0, "drums 0": 0}


def test_a_stem_against_the_mixture(one):
    heard = []
    for _ in range(3):
        one.click(".track[data-stem=drums] [data-do=compare]")
        heard.append([name for name, gain in gains(one).items() if gain])
    assert heard == [["drums 0"], ["mixture"], ["drums 0"]]


def test_what_is_muted_is_silent(one):
    one.keyboard.press("Shift+Digit1")
    one.keyboard.press("Shift+Digit2")
    playing(one)
    one.wait_for_timeout(500)
    assert one.evaluate(LOUDNESS) == 0
    one.keyboard.press("Shift+Digit2")
    until(one, f"({LOUDNESS})() > 0.01")


def test_seeking_while_it_plays(one):
    playing(one)
    box = one.locator(".track[data-stem=drums] .lane").bounding_box()
    one.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 20)
    assert position(one) == pytest.approx(0.75 * SECONDS, abs=1.0)
    until(one, f"player.position / rate > {0.75 * SECONDS + 0.5}")
    until(one, f"({LOUDNESS})() > 0.001")
    one.locator("#seek").fill("20")
    assert position(one) == pytest.approx(20, abs=1.0)


def test_at_the_end_it_stops_at_the_start(one):
    one.evaluate("go(seconds - 0.5)")
    playing(one)
    until(one, "!player.playing")
    assert position(one) == 0
    assert one.get_attribute("#play", "aria-label") == "Play"


def test_a_region_is_looped(one):
    one.evaluate("setView(0, 10)")
    box = one.locator(".track[data-stem=vocals] .lane").bounding_box()
    one.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 20)
    one.mouse.down()
    one.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20, steps=4)
    one.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 20, steps=4)
    one.mouse.up()
    assert one.evaluate("player.loop.map(at => at / rate)") == pytest.approx([2, 3], abs=0.02)
    assert one.get_attribute("#loop", "aria-pressed") == "true"
    assert one.inner_text("#region") == "0:02.0 to 0:03.0"
    one.evaluate("go(2.5)")
    playing(one)
    for _ in range(12):
        one.wait_for_timeout(150)
        assert 1.98 <= position(one) <= 3.02
    one.click("#loop")
    until(one, "player.position / rate > 3.2")


def test_the_loop_is_set_where_it_plays_and_by_keys(one):
    one.evaluate("go(5)")
    one.keyboard.press("[")
    one.evaluate("go(9)")
    one.keyboard.press("]")
    assert one.evaluate("player.loop.map(at => at / rate)") == [5, 9]
    one.keyboard.press("l")
    assert one.evaluate("player.loop") is None
    one.click("#loop")
    assert one.evaluate("player.loop.map(at => at / rate)") == [5, 9]


def test_the_keyboard_alone_is_enough(compare):
    page = compare
    page.keyboard.press("Space")
    until(page, "player.pieces.length > 0")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert position(page) == pytest.approx(10, abs=1)
    page.keyboard.press("Shift+ArrowLeft")
    assert position(page) == pytest.approx(9, abs=1)
    page.keyboard.press("Space")
    assert not page.evaluate("player.playing")
    page.keyboard.press("2")
    assert [name for name, gain in gains(page).items() if gain] == ["drums 0"]
    page.keyboard.press("2")
    page.keyboard.press("m")
    assert [name for name, gain in gains(page).items() if gain] == ["mixture"]
    page.keyboard.press("m")
    page.keyboard.press("t")
    assert [name for name, gain in gains(page).items() if gain] == ["vocals 1", "drums 1"]
    page.keyboard.press("+")
    page.keyboard.press("+")
    assert page.evaluate("view.span") == pytest.approx(SECONDS / 4)
    page.keyboard.press("0")
    page.keyboard.press("v")
    assert page.is_checked("#view [value=picture]")
    page.keyboard.press("Home")
    assert position(page) == 0
    page.locator("#keys").evaluate("box => box.checked = false")
    page.keyboard.press("Space")
    assert not page.evaluate("player.playing")


def test_every_control_is_reached_by_tab_and_shows_it(compare):
    reached = set()
    for _ in range(80):
        compare.keyboard.press("Tab")
        found = compare.evaluate(
            "(one => [one.id || one.dataset.do || one.name || one.tagName,"
            " getComputedStyle(one).outlineStyle])(document.activeElement)"
        )
        reached.add(found[0])
    names = {
        "play",
        "seek",
        "hear",
        "loop",
        "from",
        "to",
        "view",
        "volume",
        "blind",
        "mute",
        "solo",
    }
    assert names | {"compare", "save", "take ", "take vocals"} <= reached


def test_models_are_switched_without_a_gap(compare):
    playing(compare)
    compare.evaluate("window.run = player.run; window.first = player.pieces[0].start")
    compare.click(".track[data-stem=vocals] .takes label:nth-of-type(3)")
    assert {n for n, gain in gains(compare).items() if gain} == {"vocals 2", "drums 0"}
    compare.click(".models .takes label:nth-of-type(2)")
    assert {n for n, gain in gains(compare).items() if gain} == {"vocals 1", "drums 1"}
    until(compare, "player.pieces.length > 1")
    # Nothing was stopped or started anew: what was scheduled goes on, piece after piece.
    assert compare.evaluate("run === player.run && first === player.pieces[0].start")
    (start, from_, to), (next_, again, _) = compare.evaluate(
        "player.pieces.slice(0, 2).map(one => [one.start, one.from, one.to])"
    )
    assert (next_ - start, again) == (to - from_, to)
    until(compare, "player.run.gains.filter(one => one.gain.value > 0.99).length === 2")
    loud = compare.evaluate("player.run.gains.map(one => Math.round(one.gain.value))")
    assert loud == [0, 0, 0, 1, 1, 0, 0]


def test_models_with_other_stems_do_not_play_together(browser, folder, tmp_path):
    """At first the stems of one model alone, and the same after each choice for all stems."""
    files = {stem: folder / MODELS[0] / f"{stem}.wav" for stem in ("vocals", "drums")}
    second = {"vocals": files["vocals"], "rest": files["drums"]}
    write(tmp_path / "page", "t", [Take("four", files), Take("two", second)])
    with opened(browser, tmp_path / "page") as page:
        first = {name for name, gain in gains(page).items() if gain}
        assert first == {"vocals 0", "drums 0"}
        page.keyboard.press("t")
        assert {name for name, gain in gains(page).items() if gain} == {"vocals 1", "rest 1"}
        assert page.evaluate("document.querySelector('.models input:checked').value") == "1"
        page.keyboard.press("t")
        assert {name for name, gain in gains(page).items() if gain} == first


def test_names_are_hidden_and_shuffled(compare):
    def names():
        return compare.locator(".track[data-stem=drums] .takes span").all_inner_texts()

    assert names() == MODELS
    orders = set()
    for _ in range(12):
        compare.click("#blind")
        assert names() == ["Model A", "Model B", "Model C"]
        text = compare.inner_text("main")
        assert not any(name in text for name in MODELS)
        compare.click(".track[data-stem=drums] .takes label:nth-of-type(1)")
        heard = [name for name, gain in gains(compare).items() if gain and "drums" in name]
        orders.add(heard[0])
        compare.click("#blind")
        assert names() == MODELS
    assert len(orders) > 1


def test_a_track_is_saved_whole(one, folder):
    with one.expect_download() as waiting:
        one.click(".track[data-stem=vocals] [data-do=save]")
    path = waiting.value.path()
    assert waiting.value.suggested_filename == "A song - vocals.mp3"
    sound, rate = sf.read(path)
    source, _ = sf.read(folder / MODELS[0] / "vocals.wav")
    assert rate == RATE
    assert len(sound) - len(source) < 4 * 1152
    start = 1105 if np.abs(sound[:1000]).max() < 0.01 else 0
    error = sound[start : start + RATE] - source[:RATE]
    assert np.square(error).mean() < 0.01 * np.square(source[:RATE]).mean()


def test_the_stems_own_file_is_linked(folder, browser):
    files = {"vocals": folder / "a model" / "vocals.wav"}
    write(folder / "a model" / "listen", "t", [Take("m", files)])
    with opened(browser, folder / "a model" / "listen") as page:
        assert page.get_attribute(".save a", "href") == "../vocals.wav"
        assert page.is_visible(".save a")
        assert page.locator("#hear").count() == 0


def test_no_more_is_held_decoded_than_the_page_states(one):
    playing(one)
    for at in (0, 20, 40, 60, 5):
        one.evaluate(f"player.seek({at} * rate, true)")
        until(one, "!player.waiting && player.pieces.length > 0")
    held = one.evaluate("[...chunks.held.values()].map(b => b.map(x => x.length / rate))")
    assert sum(buffers[0] for buffers in held) <= 60
    assert len(held) <= one.evaluate("chunk.held")


def test_a_missing_file_is_named(browser, folder, tmp_path):
    import shutil

    shutil.copytree(folder / "one", tmp_path / "page")
    (tmp_path / "page" / "chunk-002.js").unlink()
    page = browser.new_page()
    page.goto((tmp_path / "page" / "index.html").as_uri())
    page.evaluate("go(30)")
    page.click("#play")
    until(page, "document.getElementById('status').textContent !== ''")
    assert "chunk-002.js" in page.inner_text("#status")
    assert page.get_attribute("#play", "aria-label") == "Play"
    page.context.close()


SIZES = [(1280, 900, False), (420, 860, True)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height", "touch"), SIZES)
def test_axe_finds_nothing(browser, folder, width, height, touch, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs the package axe-playwright-python"
    )
    # A button on its way to another color has less contrast.
    how = {
        "color_scheme": scheme,
        "reduced_motion": "reduce",
        "has_touch": touch,
        "is_mobile": touch,
    }
    for name in ("one", "compare"):
        with opened(browser, folder / name, width, height, **how) as page:
            page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
            for _ in range(2):
                found = axe.Axe().run(page).response["violations"]
                shown = [(v["id"], [n["html"] for n in v["nodes"]]) for v in found]
                assert shown == []
                page.keyboard.press("1")  # again with a solo, the mixture and the loop
                page.keyboard.press("l")
                page.evaluate("setKind('picture')")
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_looks_right_in_both_schemes(browser, folder):
    """Lanes are painted in the color of their stem, on the ground of the scheme."""
    found = {}
    for scheme in ("light", "dark"):
        with opened(browser, folder / "one", color_scheme=scheme) as page:
            page.wait_for_timeout(300)
            shot = page.evaluate(
                """() => { const c = document.querySelector('[data-stem=vocals] canvas');
                const p = c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data;
                return [[...p].slice(0, 3), getComputedStyle(document.body).backgroundColor]; }"""
            )
            found[scheme] = shot
    assert found["light"][1] != found["dark"][1]
    for (red, _, blue), _ in found.values():
        assert blue > red + 60  # vocals are blue


def test_a_finger_moves_and_zooms_and_a_tap_seeks(browser, folder):
    with opened(browser, folder / "one", 420, 860, has_touch=True, is_mobile=True) as page:
        page.evaluate("setView(10, 20)")
        lane = page.locator(".track[data-stem=drums] .lane")
        lane.scroll_into_view_if_needed()
        box = lane.bounding_box()
        page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + 10)
        assert position(page) == pytest.approx(20, abs=0.5)
        client = page.context.new_cdp_session(page)
        x, y = box["x"] + 200, box["y"] + 20
        touch = lambda kind, *xs: client.send(  # noqa: E731
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": x, "y": y, "id": i} for i, x in enumerate(xs)]},
        )
        touch("touchStart", x)
        for step in range(1, 11):
            touch("touchMove", x - 10 * step)
        touch("touchEnd")
        assert page.evaluate("view.start") > 13
        before = page.evaluate("view.span")
        touch("touchStart", x - 20, x + 20)
        for step in range(1, 6):
            touch("touchMove", x - 20 - 8 * step, x + 20 + 8 * step)
        touch("touchEnd")
        assert page.evaluate("view.span") < 0.6 * before
        assert page.evaluate("player.loop") is None
