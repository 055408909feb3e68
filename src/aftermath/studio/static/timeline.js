// Below the picture: thumbnails, where one is, and what happens when. Dragging it shows frames as they are passed.

import { api } from "./api.js";
import { h, painter } from "./dom.js";
import { pathOf } from "./viewer.js";

const AHEAD = 8; // frames fetched before they are shown

export class Timeline {
  constructor(store, viewer) {
    this.store = store;
    this.viewer = viewer;
    this.range = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0, id: "scrub", "aria-label": "Frame",
      oninput: () => store.go(Number(this.range.value)) });
    this.time = h("output", { class: "time" });
    this.play = h("button", { class: "icon", id: "play", title: "Play or stop (space)", onclick: () => this.toggle() }, "▶");
    this.undo = h("button", { class: "icon", id: "undo-all", title: "Undo (Ctrl+Z)", onclick: () => store.undo() }, "↶");
    this.redo = h("button", { class: "icon", id: "redo-all", title: "Do it again (Ctrl+Shift+Z)", onclick: () => store.redo() }, "↷");
    this.strip = h("div", { class: "strip" });
    this.marks = h("div", { class: "marks" });
    this.#drawMarks = painter(this.marks, (data) => this.#marks(data));
    this.track = h("div", { class: "track" }, this.strip, this.marks, this.range);
    const step = (by, sign, title) => h("button", { class: "icon", title, onclick: () => store.go(store.frame + by) }, sign);
    this.element = h("div", { class: "timeline" },
      h("div", { class: "transport" }, step(-1, "◀|", "One frame back (left arrow)"), this.play, step(1, "|▶", "One frame on (right arrow)"), this.time,
        h("span", { class: "grow" }), this.undo, this.redo),
      this.track);
    store.addEventListener("change", () => this.draw());
  }

  #drawMarks;

  draw() {
    const { clip, frame, id, state } = this.store;
    if (!clip) return;
    this.range.max = clip.frames - 1;
    this.range.value = frame;
    this.range.setAttribute("aria-valuetext", `frame ${frame} of ${clip.frames}`);
    this.time.textContent = `${frame} / ${clip.frames - 1}  ·  ${clip.times[frame].toFixed(2)} s`;
    [this.undo.disabled, this.redo.disabled] = [!this.store.history.done.length, !this.store.history.undone.length];
    this.play.textContent = this.store.playing ? "❚❚" : "▶";
    const room = this.track.getBoundingClientRect(), thumbnail = (clip.width / clip.height) * room.height;
    const image = room.width ? `url("${api.strip(id, Math.max(1, Math.round(room.width / thumbnail)))}")` : this.shown;
    if (this.shown !== image) { this.strip.style.backgroundImage = image; this.shown = image; }
    this.#drawMarks({ frames: clip.frames, doc: state.document, affected: state.affected, painted: state.painted,
      selected: this.store.selected, path: this.store.tool === "path" });
  }

  #marks({ frames, doc, affected, painted, selected, path }) {
    const at = (frame) => `${(frame / Math.max(1, frames - 1)) * 100}%`;
    const thing = affected.find((one) => one.id === selected);
    return [
      affected.filter((one) => one.applied).slice(0, 6).map((one, row) =>
        h("i", { class: `span ${one.action}${one.id === selected ? " on" : ""}`, title: `${one.noun} ${one.action}`,
          style: { left: at(one.frames[0]), width: at(Math.max(1, one.frames[1] - 1 - one.frames[0])), top: `${2 + row * 4}px` } })),
      painted.map((frame) => h("i", { class: "painted", title: `frame ${frame} is painted`, style: { left: at(frame) } })),
      [...doc.points, ...doc.boxes].map((one) => h("i", { class: "prompt", title: `pointed at in frame ${one.frame}`, style: { left: at(one.frame) } })),
      path && thing ? pathOf(thing, doc).map(([frame], i) => this.#key(i, frame, at, frames)) : null,
    ];
  }

  // A point of a path: dragged along, it is passed earlier or later.
  #key(index, frame, at, frames) {
    const key = h("button", { class: "key", "data-key": `key-${index}`, style: { left: at(frame) },
      title: `the path is here in frame ${frame}: drag to change when`, "aria-label": `path point of frame ${frame}` });
    key.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      key.setPointerCapture(event.pointerId);
      let now = frame;
      key.onpointermove = (e) => {
        const room = this.track.getBoundingClientRect();
        now = Math.max(0, Math.min(frames - 1, Math.round(((e.clientX - room.left) / room.width) * (frames - 1))));
        key.style.left = at(now);
        this.time.textContent = `frame ${now}`;
      };
      key.onpointerup = () => { key.onpointermove = null; this.retime(frame, now); };
    });
    key.addEventListener("click", () => this.store.go(frame));
    key.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (event.key === "Delete" || event.key === "Backspace") this.viewer.dropPathPoint(frame);
      else if (step) this.retime(frame, frame + step);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    return key;
  }

  retime(from, to) {
    const { thing, doc, clip } = this.store, points = pathOf(thing, doc);
    const taken = points.some(([frame]) => frame === to);
    if (from === to || taken || to < thing.frames[0] || to >= clip.frames) { this.store.changed(); return; }
    this.viewer.setPath(points.map(([frame, x, y]) => [frame === from ? to : frame, x, y]).sort((a, b) => a[0] - b[0]));
  }

  toggle() {
    this.store.playing = !this.store.playing;
    this.store.changed();
    if (!this.store.playing) return;
    if (this.store.frame >= this.store.clip.frames - 1) this.store.go(0);
    const { id } = this.store;
    let began = performance.now(), from = this.store.clip.times[this.store.frame], waited = false, last = this.store.frame;
    const tick = (now) => {
      const { store } = this;
      if (!store.playing || store.id !== id || !store.clip) return;
      const { times, frames } = store.clip;
      if (store.frame !== last) [began, from] = [now, times[store.frame]]; // somebody went elsewhere meanwhile
      for (let i = 0; i <= AHEAD; i++) if (store.frame + i < frames) this.#fetch(store.frame + i);
      let next = store.frame;
      const time = from + (now - began) / 1000;
      while (next + 1 < frames && times[next + 1] <= time) next++;
      if (next !== store.frame) {
        const reachable = this.#ready(next) ? next : store.frame + (this.#ready(store.frame + 1) ? 1 : 0);
        if (reachable !== next) { waited = true; }
        if (reachable !== store.frame) store.go(reachable);
        if (waited) [began, from, waited] = [now, times[store.frame], false]; // it goes on from what is here
      }
      last = store.frame;
      if (store.frame >= frames - 1) {
        store.playing = false;
        store.changed();
        return;
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  #sides() { return { clip: ["before"], result: ["after"], difference: ["difference"] }[this.store.view] ?? ["before", "after"]; }
  #fetch(frame) {
    for (const side of this.#sides()) this.store.picture(side, frame);
    if (this.store.view === "clip" && this.store.overlay) this.store.levels(frame);
  }
  #ready(frame) {
    return frame < this.store.clip.frames && this.#sides().every((side) => this.store.picture(side, frame).value);
  }
}
