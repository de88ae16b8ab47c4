"use strict";
// The sound of the page: files that arrive, chunks that are decoded, pieces that are scheduled.
// Positions are samples, those of the song and those of the audio context's clock.

const data = JSON.parse(document.getElementById("data").textContent);
const { rate, frames, tracks, chunk } = data;
const AHEAD = 12 * rate; // samples that are scheduled before they are due
const FADE = 0.004; // seconds, where sound begins or ends within the song

// Scripts beside the page call arrived(): a page from file:// may load nothing else.
const arrivals = new Map();
function arrived(name, parts) {
  arrivals.set(name, parts);
}

function load(kind, index) {
  const name = `${kind}-${String(index).padStart(3, "0")}`;
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.onload = script.onerror = () => {
      const parts = arrivals.get(name);
      arrivals.delete(name);
      script.remove();
      if (parts) resolve(parts);
      else reject(new Error(`${name}.js cannot be loaded: it belongs beside this page`));
    };
    script.src = `${name}.js`;
    document.head.append(script);
  });
}

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

// Decoded at the file's own rate: a decoder resamples to the rate of its context.
function decode(text) {
  const context = new OfflineAudioContext(data.channels, 1, rate);
  return context.decodeAudioData(bytesOf(text).buffer);
}

// Decoded samples before the sound, as this browser decodes: found with a click of known place.
async function measuredSkip() {
  const samples = (await decode(data.mp3.probe)).getChannelData(0);
  let found = 0;
  for (let i = 0; i < samples.length; i++)
    if (Math.abs(samples[i]) > Math.abs(samples[found])) found = i;
  return chunk.skip + found - data.mp3.click;
}

// Chunks by index, each an AudioBuffer per track. A few are held; the least useful is dropped.
class Chunks {
  constructor() {
    this.held = new Map();
    this.coming = new Map();
    this.skip = null;
    this.kept = []; // indices that are needed next, the first the soonest
  }

  want(index) {
    if (this.held.has(index)) return Promise.resolve();
    if (!this.coming.has(index))
      this.coming.set(index, this.fetch(index).finally(() => this.coming.delete(index)));
    return this.coming.get(index);
  }

  async fetch(index) {
    this.skip ??= measuredSkip();
    const parts = await load("chunk", index);
    const skip = await this.skip;
    const buffers = await Promise.all(parts.map(decode));
    this.held.set(index, buffers.map((buffer) => this.trimmed(buffer, index, skip)));
    const use = (held) => (this.kept.indexOf(held) + 1 || Infinity);
    const order = [...this.held.keys()].sort((a, b) => use(a) - use(b));
    for (const old of order.slice(chunk.held)) this.held.delete(old);
  }

  trimmed(buffer, index, skip) {
    const length = Math.min(chunk.frames, frames - index * chunk.frames);
    const options = { length, numberOfChannels: buffer.numberOfChannels, sampleRate: rate };
    const sound = new AudioBuffer(options);
    for (let channel = 0; channel < buffer.numberOfChannels; channel++)
      sound.copyToChannel(buffer.getChannelData(channel).subarray(skip, skip + length), channel);
    return sound;
  }
}

// Start all tracks of a piece at one sample of the clock. `jumps`: it begins or ends at a loop's end.
function schedule(context, outputs, buffers, { start, offset, length, jumps }) {
  return buffers.map((buffer, index) => {
    const node = context.createBufferSource();
    node.buffer = buffer;
    let output = outputs[index];
    if (jumps.in || jumps.out) {
      const edge = context.createGain();
      if (jumps.in) {
        edge.gain.setValueAtTime(0, start / rate);
        edge.gain.linearRampToValueAtTime(1, start / rate + FADE);
      }
      if (jumps.out) {
        edge.gain.setValueAtTime(1, (start + length) / rate - FADE);
        edge.gain.linearRampToValueAtTime(0, (start + length) / rate);
      }
      edge.connect(output);
      output = edge;
    }
    node.connect(output);
    node.start(start / rate, offset / rate);
    if (offset + length < buffer.length) node.stop((start + length) / rate);
    return node;
  });
}

class Player {
  constructor(chunks, gainOf) {
    this.chunks = chunks;
    this.gainOf = gainOf; // track -> factor
    this.volume = 1;
    this.at = 0; // where it is while it does not play
    this.loop = null; // [from, to], samples of the song
    this.playing = false;
    this.waiting = false; // for a chunk
    this.pieces = []; // what is scheduled: start on the clock, from and to in the song, nodes
    this.onchange = this.onerror = () => {};
  }

  get position() {
    if (!this.playing) return this.at;
    const heard = this.context.currentTime - (this.context.outputLatency || 0);
    const now = heard * rate;
    const piece = this.pieces.findLast((one) => one.start <= now) ?? this.pieces[0];
    if (!piece) return this.at;
    return Math.max(piece.from, Math.min(piece.to, piece.from + now - piece.start));
  }

  async play() {
    if (this.playing) return;
    if (!this.context) {
      this.context = new AudioContext({ sampleRate: rate });
      this.master = this.context.createGain();
      this.master.gain.value = this.volume;
      this.master.connect(this.context.destination);
    }
    this.playing = true;
    this.onchange();
    await this.context.resume();
    if (this.playing && !this.run) this.begin();
  }

  begin() {
    const now = this.context.currentTime;
    const bus = this.context.createGain();
    bus.gain.setValueAtTime(0, now);
    bus.gain.setTargetAtTime(1, now + 0.04, FADE / 2);
    bus.connect(this.master);
    const gains = tracks.map((_, index) => {
      const gain = this.context.createGain();
      gain.gain.value = this.gainOf(index);
      gain.connect(bus);
      return gain;
    });
    this.run = { bus, gains, timer: setInterval(() => this.fill(), 200) };
    if (this.at >= frames) this.at = this.loop ? this.loop[0] : 0;
    this.next = { song: Math.round(this.at), start: 0, jumped: false };
    this.fill();
  }

  // Schedule what is due within AHEAD, as far as it is decoded, and ask for what is not.
  fill() {
    if (!this.run) return;
    const now = Math.ceil((this.context.currentTime + 0.05) * rate);
    this.chunks.kept = this.needed();
    while (this.next.song < frames && this.next.start < now + AHEAD) {
      const { song, start, jumped } = this.next;
      const index = Math.floor(song / chunk.frames);
      const buffers = this.chunks.held.get(index);
      if (!buffers) {
        this.await(index, start <= now);
        break;
      }
      const [first, last] = this.loop && song < this.loop[1] ? this.loop : [0, frames];
      const to = Math.min((index + 1) * chunk.frames, last);
      const jumps = { in: jumped, out: to === last && last < frames };
      const piece = { start: Math.max(start, now), from: song, to };
      const offset = song - index * chunk.frames;
      const shape = { start: piece.start, offset, length: to - song, jumps };
      piece.nodes = schedule(this.context, this.run.gains, buffers, shape);
      this.pieces.push(piece);
      const again = this.loop !== null && to === last && last === this.loop[1];
      this.next = { song: again ? first : to, start: piece.start + to - song, jumped: again };
      this.wait(false);
    }
    for (const index of this.chunks.kept.slice(0, 3)) this.await(index, false);
    this.pieces = this.pieces.filter((one) => one.start + one.to - one.from > now - 2 * rate);
    if (this.next.song >= frames && now > this.next.start + 0.05 * rate) this.seek(0, false);
  }

  // Indices of chunks in the order in which they will be heard.
  needed() {
    const found = new Set([Math.floor(this.position / chunk.frames)]);
    let song = this.next.song;
    for (let i = 0; i < chunk.held && song < frames; i++) {
      found.add(Math.floor(song / chunk.frames));
      song = (Math.floor(song / chunk.frames) + 1) * chunk.frames;
      if (this.loop && this.next.song < this.loop[1] && song >= this.loop[1]) song = this.loop[0];
    }
    return [...found];
  }

  await(index, late) {
    if (late) this.wait(true);
    const arrives = this.chunks.held.has(index) ? null : this.chunks.want(index);
    arrives?.then(() => this.fill(), (error) => (this.halt(), this.onerror(error)));
  }

  wait(waiting) {
    if (waiting !== this.waiting) {
      this.waiting = waiting;
      this.onchange();
    }
  }

  halt() {
    this.at = this.position;
    this.playing = false;
    this.stop();
    this.wait(false);
    this.onchange();
  }

  stop() {
    if (!this.run) return;
    const now = this.context.currentTime;
    const { bus, timer } = this.run;
    clearInterval(timer);
    bus.gain.cancelScheduledValues(now);
    bus.gain.setTargetAtTime(0, now, FADE);
    for (const piece of this.pieces) for (const node of piece.nodes) node.stop(now + 8 * FADE);
    this.pieces = [];
    this.run = null;
  }

  seek(position, playing = this.playing) {
    this.stop();
    this.at = Math.max(0, Math.min(frames, position));
    this.playing = playing;
    if (playing) this.begin();
    this.onchange();
  }

  setLoop(loop) {
    this.loop = loop;
    if (!this.playing) return;
    const at = Math.round(this.position); // what is scheduled may have been another way through the song
    this.seek(loop && (at < loop[0] || at >= loop[1]) ? loop[0] : at);
  }

  // Take over gains, smoothly.
  mix() {
    if (!this.context) return;
    const now = this.context.currentTime;
    this.master.gain.setTargetAtTime(this.volume, now, FADE);
    this.run?.gains.forEach((gain, i) => gain.gain.setTargetAtTime(this.gainOf(i), now, FADE));
  }
}

// The mp3 of a track in one piece: its chunks without the frames that they share.
async function assembled(track, progress) {
  const parts = [];
  for (let index = 0; index < chunk.count; index++) {
    progress(index / chunk.count);
    const bytes = bytesOf((await load("chunk", index))[track]);
    const size = (at) => Math.floor((144_000 * data.mp3.kbits) / rate) + ((bytes[at + 2] >> 1) & 1);
    let [from, to] = [0, 0];
    for (let i = 0; i < data.mp3.preroll; i++) from += size(from);
    for (let i = 0; i < chunk.frames / data.mp3.frame; i++) to += size(to);
    parts.push(bytes.subarray(index ? 0 : from, index + 1 < chunk.count ? to : bytes.length));
  }
  return new Blob(parts, { type: "audio/mpeg" });
}
