// The picture: drawn, pointed at, painted on, compared. Coordinates of the document are pixels of the source.

import { api } from "./api.js";
import { h, say } from "./dom.js";
import { COLOURS, picture as levelPicture } from "./levels.js";

const GRAB_PX = 14; // of the screen: how near to a handle is on it
const BLINK_MS = 500;
const ACTION_COLOURS = { falls: "#6cb6ff", stays: "#7ee787", "goes-on": "#d2a8ff", vanishes: "#c9d1d9" };

export class Viewer {
  constructor(store, paint) {
    this.store = store;
    this.paint = paint;
    this.wipe = 0.5;
    this.cursor = null; // where the keyboard points, source pixels
    this.drag = null;
    this.canvas = h("canvas", { tabindex: 0, role: "application", id: "picture",
      "aria-label": "The picture. Arrow keys: frames. Alt and arrow keys: move the cross. Enter: use the tool there." });
    this.element = h("div", { class: "picture" }, this.canvas);
    this.mask = document.createElement("canvas");
    for (const [name, act] of Object.entries({
      pointerdown: (e) => this.#down(e), pointermove: (e) => this.#move(e), pointerup: (e) => this.#up(e),
      pointercancel: () => { this.drag = null; this.draw(); }, pointerleave: () => { this.hover = null; this.draw(); },
      contextmenu: (e) => e.preventDefault(), keydown: (e) => this.#key(e), dblclick: (e) => e.preventDefault(),
    })) this.canvas.addEventListener(name, act);
    new ResizeObserver(() => this.draw()).observe(this.element);
    store.addEventListener("change", () => this.draw());
    store.addEventListener("loaded", () => this.draw());
    setInterval(() => { if (store.view === "blink" && store.state) this.draw(); }, BLINK_MS);
  }

  // Drawing

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.#draw(); });
  }

  #draw() {
    const { clip } = this.store;
    if (!clip || !this.element.isConnected) return;
    const ratio = devicePixelRatio || 1, double = this.store.view === "side" ? 2 : 1;
    const room = this.element.getBoundingClientRect();
    const scale = Math.min(room.width / (clip.width * double), room.height / clip.height);
    const width = Math.max(1, Math.floor(clip.width * double * scale)), height = Math.max(1, Math.floor(clip.height * scale));
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.style.width = `${width}px`;
      this.canvas.style.height = `${height}px`;
    }
    this.scale = scale;
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.canvas.dataset.frame = this.#frame(pen, width, height) ? this.store.frame : "";
    this.canvas.dataset.view = this.store.view;
    if (this.store.view === "clip") {
      this.#marks(pen);
      if (this.store.tool === "path" && this.store.thing) this.#path(pen, this.store.thing);
      this.#pointer(pen);
    }
  }

  // The frame of the chosen view; an older one stays until it is here. Returns whether all of it was.
  #frame(pen, width, height) {
    const { store } = this, { frame, view } = store;
    const before = () => store.picture("before", frame).value, after = () => store.picture("after", frame).value;
    const put = (image, x = 0, w = width) => image && pen.drawImage(image, x, 0, w, height);
    if (view === "side") {
      const [left, right] = [before(), after()];
      if (!left || !right) return false;
      put(left, 0, width / 2);
      put(right, width / 2, width / 2);
      this.#label(pen, "before", 8, height - 8);
      this.#label(pen, "after", width / 2 + 8, height - 8);
      return true;
    }
    if (view === "difference") {
      const image = store.picture("difference", frame).value;
      put(image);
      return !!image;
    }
    if (view === "result" || view === "wipe" || view === "blink") {
      const [first, last] = [view === "result" ? true : before(), after()];
      if (!first || !last) return false;
      const blinked = view === "blink" && Math.floor(Date.now() / BLINK_MS) % 2 === 0;
      if (blinked) put(first);
      else put(last);
      if (view === "blink") this.#label(pen, blinked ? "before" : "after", 8, height - 8);
      if (view === "wipe") {
        const x = this.wipe * width;
        pen.save();
        pen.beginPath();
        pen.rect(0, 0, x, height);
        pen.clip();
        put(first);
        pen.restore();
        pen.fillStyle = "#fff";
        pen.fillRect(x - 1, 0, 2, height);
        this.#label(pen, "before", 8, height - 8);
        this.#label(pen, "after", width - 48, height - 8);
      }
      return true;
    }
    const image = before();
    if (!image) return false;
    put(image);
    if (!store.overlay) return true;
    const values = this.paint.live(frame) ?? store.levels(frame).value;
    if (values) this.#overlay(pen, values, width, height);
    return !!values;
  }

  #overlay(pen, values, width, height) {
    const [w, hgt] = this.store.clip.analysed, key = `${this.store.frame} ${this.store.paintRev} ${this.store.state.mask.rev}`;
    if (this.overlayOf !== values || this.overlayKey !== key || this.paint.stroking) {
      this.mask.width = w;
      this.mask.height = hgt;
      this.mask.getContext("2d").putImageData(levelPicture(values, w, hgt), 0, 0);
      [this.overlayOf, this.overlayKey] = [values, key];
    }
    pen.drawImage(this.mask, 0, 0, width, height);
    if (this.store.tool === "paint" && this.paint.mode === "cells") this.#grid(pen, width, height);
  }

  #grid(pen, width, height) {
    const { rows, cols } = this.paint.grid();
    const [w, hgt] = this.store.clip.analysed;
    pen.strokeStyle = "rgba(255,255,255,.35)";
    pen.lineWidth = 1;
    pen.beginPath();
    for (const x of cols) pen.moveTo((x / w) * width, 0), pen.lineTo((x / w) * width, height);
    for (const y of rows) pen.moveTo(0, (y / hgt) * height), pen.lineTo(width, (y / hgt) * height);
    pen.stroke();
  }

  #label(pen, text, x, y) {
    pen.font = "600 12px system-ui, sans-serif";
    const width = pen.measureText(text).width;
    x = Math.max(4, Math.min(x, parseFloat(this.canvas.style.width) - width - 6));
    pen.fillStyle = "rgba(0,0,0,.65)";
    pen.fillRect(x - 4, y - 13, width + 8, 18);
    pen.fillStyle = "#fff";
    pen.fillText(text, x, y);
  }

  #marks(pen) {
    const { doc, frame, state, thing } = this.store, s = this.scale;
    for (const box of doc.boxes.filter((one) => one.frame === frame)) this.#box(pen, box, "#ff5a6e", []);
    if (this.drag?.box) this.#box(pen, this.drag.box, "#ff5a6e", [6, 4]);
    if (this.corner && this.cursor) this.#box(pen, { x0: this.corner.x, y0: this.corner.y, x1: this.cursor.x, y1: this.cursor.y }, "#ff5a6e", [6, 4]);
    for (const one of state.affected) {
      const near = one.id === this.store.selected || (one.applied && one.frames[0] === frame);
      if (!one.box || !near || one.frames[0] > frame || frame >= one.frames[1]) continue;
      const colour = ACTION_COLOURS[one.action], [x0, y0, x1, y1] = one.box;
      if (frame === one.frames[0] || one === thing) {
        this.#box(pen, { x0, y0, x1, y1 }, colour, [3, 3]);
        this.#label(pen, `${one.noun} ${one.action}`, x0 * s + 4, Math.max(14, y0 * s - 5));
      }
    }
    for (const point of doc.points.filter((one) => one.frame === frame))
      this.#disc(pen, point.x * s, point.y * s, point.positive ? "#2ea043" : "#d1242f", point.positive ? "+" : "−");
    for (const told of doc.told.filter((one) => one.frame === frame)) {
      this.#disc(pen, told.x * s, told.y * s, ACTION_COLOURS[told.action], "!");
      this.#label(pen, told.action, told.x * s + 12, told.y * s + 4);
    }
  }

  #box(pen, { x0, y0, x1, y1 }, colour, dash) {
    const s = this.scale;
    pen.setLineDash(dash);
    pen.lineWidth = 2;
    pen.strokeStyle = colour;
    pen.strokeRect(Math.min(x0, x1) * s, Math.min(y0, y1) * s, Math.abs(x1 - x0) * s, Math.abs(y1 - y0) * s);
    pen.setLineDash([]);
  }

  #disc(pen, x, y, colour, sign) {
    pen.beginPath();
    pen.arc(x, y, 7, 0, 7);
    pen.fillStyle = colour;
    pen.fill();
    pen.lineWidth = 2;
    pen.strokeStyle = "#fff";
    pen.stroke();
    pen.fillStyle = "#fff";
    pen.font = "bold 12px system-ui, sans-serif";
    pen.fillText(sign, x - pen.measureText(sign).width / 2, y + 4);
  }

  #path(pen, thing) {
    const s = this.scale, points = this.drag?.path ?? pathOf(thing, this.store.doc), here = placeAt(points, this.store.frame, thing);
    pen.strokeStyle = ACTION_COLOURS[thing.action];
    pen.lineWidth = 2;
    pen.beginPath();
    points.forEach(([, x, y], i) => (i ? pen.lineTo(x * s, y * s) : pen.moveTo(x * s, y * s)));
    pen.stroke();
    for (const [frame, x, y] of points) {
      pen.fillStyle = frame === this.store.frame ? "#fff" : ACTION_COLOURS[thing.action];
      pen.fillRect(x * s - 4, y * s - 4, 8, 8);
    }
    if (here) {
      pen.beginPath();
      pen.arc(here.x * s, here.y * s, 11, 0, 7);
      pen.strokeStyle = "#fff";
      pen.lineWidth = 3;
      pen.stroke();
    }
  }

  #pointer(pen) {
    const s = this.scale, at = this.hover ?? this.cursor;
    if (this.cursor && document.activeElement === this.canvas) {
      const [x, y] = [this.cursor.x * s, this.cursor.y * s];
      for (const [colour, width] of [["#000", 3], ["#fff", 1]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = width;
        pen.beginPath();
        pen.moveTo(x - 12, y), pen.lineTo(x + 12, y), pen.moveTo(x, y - 12), pen.lineTo(x, y + 12);
        pen.stroke();
      }
    }
    if (this.store.tool === "paint" && this.paint.mode === "brush" && at) {
      pen.beginPath();
      pen.arc(at.x * s, at.y * s, (this.paint.size / 2) * s * (this.store.clip.width / this.store.clip.analysed[0]), 0, 7);
      pen.lineWidth = 1.5;
      pen.strokeStyle = `rgb(${COLOURS[this.paint.level] ?? "255,255,255"})`;
      pen.stroke();
    }
  }

  // Pointing

  #at(event) {
    const room = this.canvas.getBoundingClientRect(), { clip } = this.store;
    const bound = (v, most) => Math.max(0, Math.min(most, v));
    return { x: bound((event.clientX - room.left) / this.scale, clip.width - 1),
      y: bound((event.clientY - room.top) / this.scale, clip.height - 1) };
  }

  #down(event) {
    if (!this.store.clip) return;
    this.canvas.setPointerCapture(event.pointerId);
    const at = this.#at(event), away = event.button === 2 || event.ctrlKey || event.altKey;
    if (this.store.view === "wipe") { this.drag = { wipe: true }; this.#move(event); return; }
    if (this.store.view !== "clip") {
      say("this is a view to compare in: go to Clip (C) to point, direct and paint", false);
      return;
    }
    this.drag = { tool: this.store.tool, from: at, to: at, away };
    if (this.store.tool === "paint") this.paint.begin(this.#pixel(at), away);
    if (this.store.tool === "path") this.#grab(at);
    this.draw();
  }

  #move(event) {
    if (!this.store.clip) return;
    const at = (this.hover = this.#at(event)), { drag } = this;
    if (drag?.wipe) this.setWipe(at.x / this.store.clip.width);
    if (drag?.tool === "paint") this.paint.move(this.#pixel(at));
    if (drag?.grabbed) drag.path = moved(drag.path, drag.grabbed, at);
    if (drag?.tool === "box" || drag?.tool === "point") {
      drag.to = at;
      // pulled far enough, the pointing tool draws a box
      const far = Math.hypot(at.x - drag.from.x, at.y - drag.from.y) * this.scale > 8;
      if ((drag.tool === "box" || far) && !drag.away)
        drag.box = { x0: drag.from.x, y0: drag.from.y, x1: at.x, y1: at.y };
    }
    this.draw();
  }

  #up() {
    const { drag } = this;
    this.drag = null;
    if (!drag || drag.wipe) return;
    if (drag.tool === "paint") this.paint.end();
    else if (drag.tool === "path" && drag.grabbed) this.setPath(drag.path);
    else if (drag.box) this.addBox(drag.box);
    else if (drag.tool === "point") this.addPoint(drag.from, !drag.away);
    else if (drag.tool === "tell") this.dispatch("tell", drag.from);
    this.draw();
  }

  dispatch(name, detail) { this.element.dispatchEvent(new CustomEvent(name, { detail })); }

  #pixel(at) {
    const { clip } = this.store;
    return { x: at.x * (clip.analysed[0] / clip.width), y: at.y * (clip.analysed[1] / clip.height) };
  }

  setWipe(share) {
    this.wipe = Math.max(0, Math.min(1, share));
    this.dispatch("wipe", this.wipe);
    this.draw();
  }

  // What a click means

  addPoint(at, positive) {
    const { doc, frame } = this.store;
    const point = { x: round(at.x), y: round(at.y), frame, positive };
    this.#asked({ points: [...doc.points, point], text: "" });
  }

  addBox({ x0, y0, x1, y1 }) {
    const box = { x0: round(Math.min(x0, x1)), y0: round(Math.min(y0, y1)), x1: round(Math.max(x0, x1)), y1: round(Math.max(y0, y1)),
      frame: this.store.frame };
    if (box.x1 - box.x0 < 2 || box.y1 - box.y0 < 2) return;
    this.#asked({ boxes: [...this.store.doc.boxes, box], text: "" });
  }

  // What changes which pixels are the object: kept, and answered at once on this frame.
  async #asked(changes) {
    const { store } = this, { id, frame } = store;
    store.edit(changes);
    if (!store.clip.clickable) {
      say("the clip is still being looked at: the answer comes in a moment", false);
      await store.until(() => store.id !== id || store.clip?.clickable);
    }
    const begun = performance.now();
    try {
      const values = await api.click(id, frame, changes);
      if (store.id === id) store.clicked(frame, values);
      this.element.dataset.answeredMs = Math.round(performance.now() - begun);
    } catch (error) {
      if (store.id === id) store.clicked(frame, null);
      say(error.message);
    }
  }

  // Paths

  #grab(at) {
    const { thing, frame, doc } = this.store;
    if (!thing) {
      this.drag = null;
      say("choose a thing in the list first: its path is drawn then, and can be dragged");
      return;
    }
    const points = pathOf(thing, doc), near = ([, x, y]) => Math.hypot(x - at.x, y - at.y) * this.scale;
    const handle = points.filter((p) => near(p) < GRAB_PX).sort((a, b) => near(a) - near(b))[0];
    const ring = placeAt(points, frame, thing), onRing = ring && near([0, ring.x, ring.y]) < GRAB_PX;
    if (handle && !onRing) this.drag.grabbed = handle[0];
    else this.drag.grabbed = Math.max(frame, thing.frames[0]); // elsewhere: it goes there, in this frame
    // what was computed for after this frame led on from where the thing no longer is
    const kept = doc.ways[thing.id]?.path ? points : points.filter(([frame]) => frame <= this.drag.grabbed);
    this.drag.path = moved(kept, this.drag.grabbed, at);
  }

  setPath(points) {
    const { thing, doc } = this.store;
    if (!thing) return;
    const path = points.map(([frame, x, y]) => ({ frame, x: round(x), y: round(y) }));
    const way = { ...(doc.ways[thing.id] ?? {}), applied: true, path };
    this.store.edit({ ways: { ...doc.ways, [thing.id]: way } });
  }

  dropPathPoint(frame) {
    const points = pathOf(this.store.thing, this.store.doc).filter((point) => point[0] !== frame);
    if (points.length >= 1) this.setPath(points);
  }

  // Keys

  #key(event) {
    const { store } = this;
    if (!store.clip) return;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (arrows && event.altKey) {
      const step = event.shiftKey ? 1 : Math.max(2, store.clip.width / 64);
      this.cursor ??= { x: store.clip.width / 2, y: store.clip.height / 2 };
      this.cursor = { x: Math.max(0, Math.min(store.clip.width - 1, this.cursor.x + arrows[0] * step)),
        y: Math.max(0, Math.min(store.clip.height - 1, this.cursor.y + arrows[1] * step)) };
      this.hover = null;
    } else if ((event.key === "Enter" || event.key === "Backspace") && this.cursor) {
      this.#use(event.key === "Backspace" || event.shiftKey);
    } else return;
    event.preventDefault();
    event.stopPropagation();
    this.draw();
  }

  #use(away) {
    const { tool, view, thing } = this.store, at = this.cursor;
    if (view !== "clip") return;
    if (tool === "point") this.addPoint(at, !away);
    else if (tool === "box") {
      if (this.corner) { this.addBox({ x0: this.corner.x, y0: this.corner.y, x1: at.x, y1: at.y }); this.corner = null; }
      else { this.corner = { ...at }; say("first corner set; move the cross to the opposite one and press Enter", false); }
    } else if (tool === "tell") this.dispatch("tell", at);
    else if (tool === "paint") { this.paint.begin(this.#pixel(at), away); this.paint.end(); }
    else if (tool === "path" && thing)
      this.setPath(moved(pathOf(thing, this.store.doc), Math.max(this.store.frame, thing.frames[0]), at));
  }
}

const round = (value) => Math.round(value * 10) / 10;

// The points [frame, x, y] of a thing's way: as a person drew it, or as it was found, or where it stands.
export function pathOf(thing, doc) {
  const own = doc.ways[thing.id]?.path;
  if (own?.length) return own.map((place) => [place.frame, place.x, place.y]);
  if (thing.path.length) return thinned(thing.path);
  if (!thing.box) return [];
  const [x0, y0, x1, y1] = thing.box;
  return [[thing.frames[0], (x0 + x1) / 2, (y0 + y1) / 2]];
}

// A computed path has a point a frame; to be dragged it has as few as say nearly the same.
function thinned(points) {
  const spread = (place) => Math.max(...points.map((p) => p[place])) - Math.min(...points.map((p) => p[place]));
  const least = Math.max(1.5, 0.04 * Math.hypot(spread(1), spread(2)));
  const keep = new Set([0, points.length - 1]);
  const split = (first, last) => {
    let worst = least, at = -1;
    for (let i = first + 1; i < last; i++) {
      const share = (points[i][0] - points[first][0]) / (points[last][0] - points[first][0]);
      const apart = Math.hypot(points[i][1] - (points[first][1] + share * (points[last][1] - points[first][1])),
        points[i][2] - (points[first][2] + share * (points[last][2] - points[first][2])));
      if (apart > worst) [worst, at] = [apart, i];
    }
    if (at >= 0) { keep.add(at); split(first, at); split(at, last); }
  };
  split(0, points.length - 1);
  return points.filter((_, i) => keep.has(i));
}

function moved(points, frame, at) {
  const others = points.filter((point) => point[0] !== frame);
  return [...others, [frame, at.x, at.y]].sort((a, b) => a[0] - b[0]);
}

export function placeAt(points, frame, thing) {
  if (!points.length || frame < thing.frames[0]) return null;
  const after = points.findIndex((point) => point[0] >= frame);
  if (after === -1) return { x: points.at(-1)[1], y: points.at(-1)[2] };
  if (after === 0) return { x: points[0][1], y: points[0][2] };
  const [a, b] = [points[after - 1], points[after]], share = (frame - a[0]) / (b[0] - a[0]);
  return { x: a[1] + share * (b[1] - a[1]), y: a[2] + share * (b[2] - a[2]) };
}
