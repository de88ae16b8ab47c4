// What is seen and touched: the mixer, the lanes, the keyboard.

const $ = (id) => document.getElementById(id);
const rows = [...document.querySelectorAll(".track")];
const stems = rows.map((row) => row.dataset.stem).filter((stem) => stem !== "mixture");
const seconds = frames / rate;
const SHORTEST = 2; // seconds that a lane shows at least
const several = data.takes.length > 1;

const mixer = {
  hear: "stems",
  muted: new Set(),
  solo: new Set(),
  volume: {}, // stem -> dB
  take: {}, // stem -> index
  order: data.takes.map((_, index) => index), // in which the models are listed
  blind: false,
};
// The first model's stems alone: those that only another has would play beside them.
for (const stem of stems) mixer.take[stem] = ofModel(stem, 0);

function takesOf(stem) {
  return tracks.filter((track) => track.stem === stem && track.take !== null).map((t) => t.take);
}

const factor = (dB) => (dB <= -40 ? 0 : 10 ** (dB / 20));

function audible(index) {
  const { stem, take } = tracks[index];
  if (take === null) return mixer.hear === "mixture";
  if (mixer.hear === "mixture" || mixer.take[stem] !== take || mixer.muted.has(stem)) return false;
  return mixer.solo.size === 0 || mixer.solo.has(stem);
}

const chunks = new Chunks();
const player = new Player(chunks, (index) =>
  audible(index) ? factor(mixer.volume[tracks[index].stem] ?? 0) : 0,
);
player.onchange = () => {
  $("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
  $("play").classList.toggle("waiting", player.waiting);
  if (player.playing) requestAnimationFrame(follow);
  showPosition();
};
player.onerror = (error) => say(error.message);

function say(text) {
  $("status").textContent = text;
}

function clock(time, digits = 0) {
  const step = 10 ** digits;
  const whole = Math.floor(time * step + 1e-6);
  const rest = (whole % (60 * step)) / step;
  return `${Math.floor(whole / (60 * step))}:${rest.toFixed(digits).padStart(digits ? 3 + digits : 2, "0")}`;
}

// --- The mixer ---------------------------------------------------------------------------------

function trackOf(stem) {
  const take = stem === "mixture" ? null : mixer.take[stem];
  return tracks.findIndex((track) => track.stem === stem && track.take === take);
}

function nameOf(take) {
  const place = mixer.order.indexOf(take);
  return mixer.blind ? `Model ${String.fromCharCode(65 + place)}` : data.takes[take].name;
}

function showMixer() {
  for (const row of rows) {
    const stem = row.dataset.stem;
    const index = trackOf(stem);
    row.classList.toggle("silent", index < 0 || !audible(index));
    const press = (name, on) =>
      row.querySelector(`[data-do=${name}]`)?.setAttribute("aria-pressed", on);
    press("mute", mixer.muted.has(stem));
    press("solo", mixer.solo.has(stem));
    const file = row.querySelector(".save a");
    file.hidden = !tracks[index]?.file || mixer.blind;
    file.href = tracks[index]?.file ?? "";
    file.firstChild.data = (tracks[index]?.file ?? "").split(".").pop();
    for (const radio of row.querySelectorAll(".takes input"))
      radio.checked = Number(radio.value) === mixer.take[stem];
  }
  for (const radio of document.querySelectorAll(".models .takes input"))
    radio.checked = allFrom(Number(radio.value));
  for (const radio of document.querySelectorAll("#hear input"))
    radio.checked = radio.value === mixer.hear;
  player.mix();
  draw();
}

function toggle(set, stem) {
  if (!set.delete(stem)) set.add(stem);
}

const actions = {
  mute: (stem) => toggle(mixer.muted, stem),
  solo: (stem) => {
    toggle(mixer.solo, stem);
    mixer.hear = "stems";
  },
  // First the stem alone, then the mixture, and so on.
  compare: (stem) => {
    const alone = mixer.solo.size === 1 && mixer.solo.has(stem);
    mixer.hear = alone && mixer.hear === "stems" ? "mixture" : "stems";
    mixer.solo = new Set([stem]);
    mixer.muted.delete(stem);
    say(mixer.hear === "stems" ? `${stem} alone` : "mixture");
  },
  save: async (stem) => {
    const blob = await assembled(trackOf(stem), (share) =>
      say(`Saving ${stem}: ${Math.round(100 * share)} %`),
    ).catch((error) => say(error.message));
    if (!blob) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${data.title} - ${stem}.mp3`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    say(`${stem} is saved`);
  },
};

function takeAll(take) {
  for (const stem of stems) mixer.take[stem] = ofModel(stem, take);
  showMixer();
}

function ofModel(stem, take) {
  // The model itself, or none where it does not give this stem.
  return takesOf(stem).includes(take) ? take : null;
}

function allFrom(take) {
  return stems.every((stem) => mixer.take[stem] === ofModel(stem, take));
}

function listTakes(field, stem) {
  for (const label of field.querySelectorAll("label")) label.remove();
  for (const take of mixer.order.filter((one) => !stem || takesOf(stem).includes(one))) {
    const label = document.createElement("label");
    const radio = document.createElement("input");
    const name = document.createElement("span");
    Object.assign(radio, { type: "radio", name: `take ${stem ?? ""}`, value: take });
    radio.addEventListener("change", () => {
      if (!stem) return takeAll(take);
      mixer.take[stem] = take;
      showMixer();
    });
    name.textContent = nameOf(take);
    label.append(radio, name);
    field.append(label);
  }
}

function listAllTakes() {
  if (!several) return;
  listTakes(document.querySelector(".models .takes"), null);
  for (const row of rows)
    if (row.dataset.stem !== "mixture") listTakes(row.querySelector(".takes"), row.dataset.stem);
}

function setBlind(blind) {
  mixer.blind = blind;
  $("blind").setAttribute("aria-pressed", blind);
  $("facts").hidden = blind;
  mixer.order = data.takes.map((_, index) => index);
  for (let i = mixer.order.length - 1; blind && i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [mixer.order[i], mixer.order[j]] = [mixer.order[j], mixer.order[i]];
  }
  document.body.classList.toggle("blind", blind);
  listAllTakes();
  if (blind) takeAll(mixer.order[0]);
  showMixer();
}

function showVolume(input) {
  const dB = Number(input.value);
  const text = dB <= -40 ? "off" : `${dB > 0 ? "+" : dB < 0 ? "−" : ""}${Math.abs(dB)} dB`;
  input.setAttribute("aria-valuetext", text);
  input.nextElementSibling.textContent = text;
  input.style.setProperty("--share", `${(100 * (dB - input.min)) / (input.max - input.min)}%`);
  return dB;
}

// --- The lanes ---------------------------------------------------------------------------------

const view = { start: 0, span: seconds, kind: "wave" };
const waves = tracks.map((track) => bytesOf(track.wave)); // peak, RMS, peak, RMS, ...
const pictures = new Map(); // index of the minute -> bytes of an image per track, or a promise
const painted = new Map(); // track, minute and colors -> canvas
let due = false;

function draw() {
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    for (const row of rows) drawLane(row);
    drawRuler();
    drawOverview();
    showRegion(...(player.loop ?? [-1e9, -1e9]).map((at) => at / rate));
    showPosition();
  });
}

function prepared(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  const dense = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * dense);
  canvas.height = Math.round(height * dense);
  const pen = canvas.getContext("2d");
  pen.scale(dense, dense);
  return { pen, width, height };
}

const color = (element, name) => getComputedStyle(element).getPropertyValue(name).trim();

function drawLane(row) {
  const { pen, width, height } = prepared(row.querySelector("canvas"));
  const index = trackOf(row.dataset.stem);
  if (index < 0 || !width) return;
  if (view.kind === "picture") return drawPicture(pen, width, height, row, index);
  pen.fillStyle = color(row, row.classList.contains("silent") ? "--mute" : "--tone");
  drawWave(pen, width, height, [waves[index]], view.start, view.span);
}

// The peak pale, the RMS on top of it.
function drawWave(pen, width, height, some, start, span) {
  const scale = rate / data.point;
  const middle = height / 2;
  for (const [part, alpha] of [[0, 0.38], [1, 0.9]]) {
    const half = [];
    for (let x = 0; x <= width; x++) {
      const from = (start + (span * x) / width) * scale;
      const to = Math.max(from + 1, (start + (span * (x + 1)) / width) * scale);
      let found = 0;
      for (const wave of some)
        for (let i = Math.floor(from); i < to; i++) found = Math.max(found, wave[2 * i + part] || 0);
      half.push(Math.max(0.35, (found / 255) * (middle - 2)));
    }
    pen.globalAlpha = alpha;
    pen.beginPath();
    half.forEach((y, x) => pen.lineTo(x, middle - y));
    for (let x = width; x >= 0; x--) pen.lineTo(x, middle + half[x]);
    pen.fill();
  }
  pen.globalAlpha = 1;
}

function drawPicture(pen, width, height, row, track) {
  const long = (data.picture.columns * data.picture.column) / rate;
  const last = Math.min(seconds, view.start + view.span);
  for (let minute = Math.floor(view.start / long); minute * long < last; minute++) {
    const image = paintedPicture(row, track, minute);
    if (!image) continue;
    const x = ((minute * long - view.start) / view.span) * width;
    const shown = (image.width * data.picture.column) / rate;
    pen.drawImage(image, x, 0, (shown / view.span) * width, height);
  }
  pen.font = "10px system-ui, sans-serif";
  pen.fillStyle = color(row, "--ink");
  pen.globalAlpha = 0.75;
  for (const [share, words] of data.picture.ticks) {
    pen.fillRect(0, height * (1 - share), 6, 1);
    pen.fillText(words, 9, height * (1 - share) + 3);
  }
  pen.globalAlpha = 1;
}

// The image of a minute in the colors of its track, or nothing until it is there.
function paintedPicture(row, track, minute) {
  const silent = row.classList.contains("silent");
  const colors = ["--panel", silent ? "--mute" : "--tone", "--bright"].map((n) => color(row, n));
  const key = [track, minute, ...colors].join();
  if (painted.has(key)) return painted.get(key);
  if (!pictures.has(minute))
    pictures.set(minute, load("picture", minute).catch((error) => (say(error.message), [])));
  painted.set(key, null);
  pictures.get(minute).then(async (images) => {
    if (!images[track]) return;
    const blob = new Blob([bytesOf(images[track])], { type: "image/webp" });
    painted.set(key, paint(await createImageBitmap(blob), colors));
    if (painted.size > 160) painted.delete(painted.keys().next().value);
    draw();
  });
  return null;
}

function paint(image, colors) {
  const ramp = new OffscreenCanvas(256, 1).getContext("2d");
  const gradient = ramp.createLinearGradient(0, 0, 256, 0);
  [0, 0.62, 1].forEach((at, i) => gradient.addColorStop(at, colors[i]));
  ramp.fillStyle = gradient;
  ramp.fillRect(0, 0, 256, 1);
  const shades = ramp.getImageData(0, 0, 256, 1).data;
  const canvas = new OffscreenCanvas(image.width, image.height);
  const pen = canvas.getContext("2d");
  pen.drawImage(image, 0, 0);
  const content = pen.getImageData(0, 0, image.width, image.height);
  for (let i = 0; i < content.data.length; i += 4)
    for (let j = 0, shade = 4 * content.data[i]; j < 3; j++) content.data[i + j] = shades[shade + j];
  pen.putImageData(content, 0, 0);
  return canvas;
}

function drawRuler() {
  const { pen, width } = prepared($("ruler"));
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];
  const step = steps.find((one) => (one / view.span) * width > 64) ?? 3600;
  pen.font = "11px system-ui, sans-serif";
  pen.fillStyle = color(document.body, "--soft");
  for (let time = Math.ceil(view.start / step) * step; time <= view.start + view.span; time += step) {
    const x = ((time - view.start) / view.span) * width;
    pen.fillRect(x, 12, 1, 5);
    if (x + 30 < width) pen.fillText(clock(time, step < 1 ? 1 : 0), x + 4, 12);
  }
}

function drawOverview() {
  const { pen, width, height } = prepared($("overview"));
  const some = tracks[0].take === null ? [waves[0]] : stems.map((stem) => waves[trackOf(stem)]);
  pen.fillStyle = color(document.body, "--soft");
  drawWave(pen, width, height, some.filter(Boolean), 0, seconds);
  pen.fillStyle = color(document.body, "--accent");
  pen.globalAlpha = 0.16;
  if (player.loop) {
    const [from, to] = player.loop.map((at) => (at / frames) * width);
    pen.fillRect(from, 0, Math.max(2, to - from), height);
  }
  pen.globalAlpha = 1;
  if (view.span >= seconds) return;
  pen.strokeStyle = color(document.body, "--accent");
  const x = (view.start / seconds) * width;
  pen.strokeRect(x + 0.5, 0.5, Math.max(3, (view.span / seconds) * width) - 1, height - 1);
}

function setView(start, span = view.span) {
  view.span = Math.min(seconds, Math.max(Math.min(SHORTEST, seconds), span));
  view.start = Math.max(0, Math.min(seconds - view.span, start));
  draw();
}

// Zoom so that `time` keeps its place.
function zoom(by, time = view.start + view.span / 2) {
  const span = Math.min(seconds, Math.max(Math.min(SHORTEST, seconds), view.span * by));
  setView(time - ((time - view.start) / view.span) * span, span);
}

// --- Where it plays ----------------------------------------------------------------------------

function showPosition() {
  const time = player.position / rate;
  const share = (100 * (time - view.start)) / view.span;
  document.querySelector(".tracks").style.setProperty("--at", `${share}%`);
  const text = clock(time, 1);
  if ($("time").textContent === text) return;
  $("time").textContent = text;
  $("seek").value = time;
  $("seek").setAttribute("aria-valuetext", `${clock(time)} of ${clock(seconds)}`);
}

function follow() {
  if (!player.playing) return;
  const time = player.position / rate;
  const behind = time - view.start;
  if (!held.size && (behind < 0 || behind > view.span)) setView(time - 0.05 * view.span);
  showPosition();
  requestAnimationFrame(follow);
}

function go(time) {
  player.seek(Math.round(time * rate));
  if (time < view.start || time > view.start + view.span) setView(time - 0.3 * view.span);
}

function setLoop(from, to) {
  const loop = from === null || to - from < 0.1 ? null : [Math.round(from * rate), Math.round(to * rate)];
  player.setLoop(loop);
  $("loop").setAttribute("aria-pressed", Boolean(loop));
  const words = loop ? `${clock(from, 1)} to ${clock(to, 1)}` : "";
  $("region").textContent = words || "or drag over a track";
  $("region").classList.toggle("on", Boolean(loop));
  draw();
}

let latest = [0, seconds]; // the loop that the button turns on again
function loopFrom(time) {
  const to = player.loop ? player.loop[1] / rate : seconds;
  latest = [time, to > time + 0.1 ? to : seconds];
  setLoop(...latest);
}
function loopTo(time) {
  const from = player.loop ? player.loop[0] / rate : 0;
  latest = [from < time - 0.1 ? from : 0, time];
  setLoop(...latest);
}
function toggleLoop() {
  if (player.loop) setLoop(null);
  else setLoop(...latest);
}

// --- Pointers: click, drag, pinch, wheel -------------------------------------------------------

const held = new Map(); // pointer -> where it went down, and where it is
function timeAt(lane, x) {
  const box = lane.getBoundingClientRect();
  const share = Math.max(0, Math.min(1, (x - box.left) / box.width));
  return view.start + share * view.span;
}

for (const lane of document.querySelectorAll(".lane")) {
  lane.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    lane.setPointerCapture(event.pointerId);
    held.set(event.pointerId, { down: event.clientX, x: event.clientX, moved: false });
  });
  lane.addEventListener("pointermove", (event) => {
    const finger = held.get(event.pointerId);
    if (!finger) return;
    const [first, second] = [...held.values()];
    const apart = second && Math.abs(first.x - second.x);
    const by = ((finger.x - event.clientX) / lane.clientWidth) * view.span;
    finger.x = event.clientX;
    finger.moved ||= Math.abs(finger.x - finger.down) > 4;
    if (second) zoom(apart / Math.max(8, Math.abs(first.x - second.x)), timeAt(lane, (first.x + second.x) / 2));
    else if (event.pointerType === "touch") setView(view.start + by);
    else if (finger.moved) {
      const ends = [timeAt(lane, finger.down), timeAt(lane, finger.x)].sort((a, b) => a - b);
      showRegion(...ends);
    }
  });
  lane.addEventListener("pointerup", (event) => {
    const finger = held.get(event.pointerId);
    held.delete(event.pointerId);
    if (!finger) return;
    if (!finger.moved) return go(timeAt(lane, event.clientX));
    if (event.pointerType === "touch") return;
    latest = [timeAt(lane, finger.down), timeAt(lane, finger.x)].sort((a, b) => a - b);
    setLoop(...latest);
  });
  lane.addEventListener("pointercancel", (event) => held.delete(event.pointerId));
  lane.addEventListener(
    "wheel",
    (event) => {
      const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
      if (event.ctrlKey || event.metaKey) zoom(1.0015 ** event.deltaY, timeAt(lane, event.clientX));
      else if (Math.abs(sideways) > 0 && (event.shiftKey || Math.abs(sideways) > Math.abs(event.deltaY)))
        setView(view.start + (sideways / lane.clientWidth) * view.span);
      else return;
      event.preventDefault();
    },
    { passive: false },
  );
}

// A region that is being drawn.
function showRegion(from, to) {
  const share = (at) => `${(100 * (at - view.start)) / view.span}%`;
  document.querySelector(".tracks").style.setProperty("--from", share(from));
  document.querySelector(".tracks").style.setProperty("--to", share(to));
}

// --- Controls and keys -------------------------------------------------------------------------

const playOrPause = () => (player.playing ? player.halt() : player.play());
const here = () => player.position / rate;
const setKind = (kind) => {
  view.kind = kind;
  for (const radio of document.querySelectorAll("#view input")) radio.checked = radio.value === kind;
  draw();
};
const hear = (what) => {
  if (tracks[0].take === null) mixer.hear = what;
  showMixer();
};
const nextTake = () => {
  const now = mixer.order.findIndex(allFrom);
  takeAll(mixer.order[(now + 1) % mixer.order.length]);
  say(nameOf(mixer.order[(now + 1) % mixer.order.length]));
};

const clicks = {
  play: playOrPause,
  loop: toggleLoop,
  from: () => loopFrom(here()),
  to: () => loopTo(here()),
  closer: () => zoom(0.5, middle()),
  wider: () => zoom(2, middle()),
  whole: () => setView(0, seconds),
  blind: () => setBlind(!mixer.blind),
};
for (const [id, action] of Object.entries(clicks)) $(id)?.addEventListener("click", action);

// What zooms keep in place: where it plays, if that is in sight.
function middle() {
  const time = here();
  const inside = time >= view.start && time <= view.start + view.span;
  return inside ? time : view.start + view.span / 2;
}

const keys = {
  " ": playOrPause,
  ArrowLeft: (event) => go(Math.max(0, here() - (event.shiftKey ? 1 : 5))),
  ArrowRight: (event) => go(Math.min(seconds, here() + (event.shiftKey ? 1 : 5))),
  Home: () => go(0),
  l: toggleLoop,
  "[": () => loopFrom(here()),
  "]": () => loopTo(here()),
  m: () => hear(mixer.hear === "stems" ? "mixture" : "stems"),
  v: () => setKind(view.kind === "wave" ? "picture" : "wave"),
  t: () => several && nextTake(),
  b: () => several && setBlind(!mixer.blind),
  "+": clicks.closer,
  "=": clicks.closer,
  "-": clicks.wider,
  0: clicks.whole,
};

document.addEventListener("keydown", (event) => {
  if (!$("keys").checked || event.ctrlKey || event.altKey || event.metaKey) return;
  const own = event.target.closest("button, a, summary, input[type=radio], input[type=checkbox]");
  if (own && [" ", "Enter"].includes(event.key)) return;
  const moves = event.key.startsWith("Arrow") || event.key === "Home";
  if (moves && event.target.matches("input:not(#seek), [tabindex]")) return;
  const digit = /^Digit([1-9])$/.exec(event.code)?.[1];
  const stem = digit && stems[digit - 1];
  if (stem) {
    actions[event.shiftKey ? "mute" : "solo"](stem);
    showMixer();
  } else if (keys[event.key.length === 1 ? event.key.toLowerCase() : event.key])
    keys[event.key.length === 1 ? event.key.toLowerCase() : event.key](event);
  else return;
  event.preventDefault();
});

// A mouse leaves the focus where it is, so that Space plays and pauses after a click on Solo.
document.addEventListener("mousedown", (event) => {
  if (event.target.closest("button")) event.preventDefault();
});

for (const row of rows) {
  const stem = row.dataset.stem;
  for (const button of row.querySelectorAll("button[data-do]"))
    button.addEventListener("click", () => {
      actions[button.dataset.do](stem);
      showMixer();
    });
  row.querySelector("[data-do=volume]").addEventListener("input", (event) => {
    mixer.volume[stem] = showVolume(event.target);
    player.mix();
  });
}
for (const input of document.querySelectorAll(".volume input")) showVolume(input);
$("volume").addEventListener("input", (event) => {
  player.volume = factor(showVolume(event.target));
  player.mix();
});
$("seek").addEventListener("input", (event) => go(Number(event.target.value)));
$("view").addEventListener("change", (event) => setKind(event.target.value));
$("hear")?.addEventListener("change", (event) => hear(event.target.value));
new ResizeObserver(draw).observe(document.querySelector(".tracks"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

listAllTakes();
showMixer();
chunks.kept = [0];
chunks.want(0).catch((error) => say(error.message));
