// What the page knows: the server's state of one project, and what only this window has (frame, tool, view).

import { api } from "./api.js";
import { say } from "./dom.js";

const AHEAD = 4; // frames fetched before they are asked for
const UNDOS = 200;
const ASKED_AGAIN = 5; // times, at most, while news keep coming
const PICTURES = 160, MASKS = 120; // kept in memory

export class Store extends EventTarget {
  id = null;
  state = null; // of the server
  frame = 0;
  tool = "point";
  view = "clip";
  overlay = true;
  playing = false;
  selected = null; // the id of a finding
  #news = null;
  #pending = 0;
  #missed = false; // news came while something was asked
  #edits = Promise.resolve();
  #pictures = new Map();
  #masks = new Map();
  #clicked = null; // { frame, values }: the answer to a click, until the whole is known
  paintRev = 0;
  history = { done: [], undone: [] }; // of { undo, redo }, in the order of what was done
  #served = null; // the state as the server told it last

  changed() { this.dispatchEvent(new Event("change")); }

  until(met) {
    return new Promise((done) => {
      const look = () => {
        if (!met()) return;
        this.removeEventListener("change", look);
        done();
      };
      this.addEventListener("change", look);
      look();
    });
  }

  get doc() { return this.state?.document; }
  get clip() { return this.state?.clip; }
  get thing() { return this.state?.affected.find((one) => one.id === this.selected) ?? null; }
  get job() { return this.state?.jobs.findLast((job) => job.state === "running" || job.state === "waiting") ?? null; }

  open(state) {
    this.close();
    Object.assign(this, { id: state.id, frame: 0, view: "clip", tool: "point", selected: null, playing: false });
    this.#pictures.clear();
    this.#masks.clear();
    this.#clicked = null;
    this.history = { done: [], undone: [] };
    this.#take(state);
    this.#listen();
  }

  close() {
    this.#news?.close();
    this.#news = null;
    this.id = this.state = null;
    this.changed();
  }

  #listen() {
    const id = this.id;
    this.#news = api.news(id);
    this.#news.onmessage = (event) => {
      if (this.id === id && this.#pending === 0) this.#take(JSON.parse(event.data));
      else this.#missed = true;
      this.lost = false;
    };
    this.#news.onerror = async () => {
      if (this.lost) return;
      this.lost = true;
      this.changed();
      const error = await api.state(id).then(() => null, (failed) => failed);
      if (error?.code !== 404 || this.id !== id) return;
      say("this project was thrown away in another window");
      location.hash = "";
    };
    this.#news.onopen = () => { this.lost = false; this.changed(); };
  }

  #take(state) {
    const before = this.state;
    this.state = state;
    this.#served = structuredClone(state);
    this.#forgetPainted(before?.paint_revs ?? {}, state.paint_revs);
    if (before && before.mask.rev !== state.mask.rev) this.#masks.clear();
    if (before && !before.result?.rev && state.result?.shown) this.dispatchEvent(new Event("result"));
    else if (before?.result && state.result && before.result.rev !== state.result.rev) this.dispatchEvent(new Event("result"));
    if (this.#clicked && state.mask.fresh && !before?.mask.fresh) this.#clicked = null;
    for (const job of state.jobs) {
      const was = before?.jobs.find((one) => one.id === job.id);
      if (before && was?.state !== "failed" && job.state === "failed") say(job.error);
    }
    this.changed();
  }

  // What another window painted is fetched anew.
  #forgetPainted(before, after) {
    for (const frame of new Set([...Object.keys(before), ...Object.keys(after)]))
      if (before[frame] !== after[frame] && this.#masks.delete(frame)) this.paintRev++;
  }

  // What this window painted, and the server has.
  painted({ painted, paint_revs }) {
    Object.assign(this.state, { painted, paint_revs });
    this.changed();
  }

  done(undo, redo) {
    this.history.done.push({ undo, redo });
    if (this.history.done.length > UNDOS) this.history.done.shift();
    this.history.undone = [];
    this.changed();
  }

  undo() { this.#again(this.history.done, this.history.undone, "undo"); }
  redo() { this.#again(this.history.undone, this.history.done, "redo"); }

  #again(from, to, way) {
    const step = from.pop();
    if (!step) return;
    to.push(step);
    step[way]();
    this.changed();
  }

  // Edits go one after another; what the server says meanwhile waits.
  edit(changes, { undoable = true } = {}) {
    if (undoable) {
      const before = Object.fromEntries(Object.keys(changes).map((name) => [name, this.state.document[name]]));
      const back = (what) => { this.clicked(this.frame, null); this.edit(what, { undoable: false }); };
      this.done(() => back(before), () => back(changes));
    }
    this.state.document = { ...this.state.document, ...changes };
    this.changed();
    if (changes.ways || changes.told) this.dispatchEvent(new Event("directed"));
    return this.#ask((id) => api.edit(id, changes));
  }

  run(kind) { return this.#ask((id) => api.run(id, kind)); }
  stop() { return this.#ask((id) => api.stop(id)); }

  #ask(what) {
    const id = this.id;
    this.#pending++;
    this.#edits = this.#edits.then(async () => {
      try {
        let state = await what(id);
        // it may be older than the news that came meanwhile, and those are not told twice
        for (let n = 0; n < ASKED_AGAIN && this.#missed && this.#pending === 1; n++) {
          this.#missed = false;
          state = await api.state(id);
        }
        this.#pending--;
        if (this.id === id && this.#pending === 0) this.#take(state);
      } catch (error) {
        this.#pending--;
        say(error.message);
        if (this.id === id) this.#take(await api.state(id).catch(() => this.#served)); // as it is kept, not as it was wished
      }
    });
    return this.#edits;
  }

  go(frame) {
    if (!this.clip) return;
    const before = this.frame;
    this.frame = Math.max(0, Math.min(this.clip.frames - 1, Math.round(frame)));
    this.changed();
    if (Math.abs(this.frame - before) === 1) this.#foresee(this.frame - before);
  }

  // Whoever goes frame by frame wants the next ones too.
  #foresee(step) {
    const sides = { clip: ["before"], result: ["after"], difference: ["difference"] }[this.view] ?? ["before", "after"];
    for (let i = 1; i <= AHEAD; i++) {
      const frame = this.frame + i * step;
      if (frame < 0 || frame >= this.clip.frames) return;
      for (const side of sides) this.picture(side, frame);
      if (this.view === "clip" && this.overlay) this.levels(frame);
    }
  }

  // Pictures and masks, kept for a while; the newest asked for stay.

  picture(side, frame) {
    const rev = side === "before" ? 0 : this.state.result?.rev ?? 0;
    return this.#kept(this.#pictures, PICTURES, `${side} ${frame} ${rev}`, () => api.picture(this.id, side, frame, rev));
  }

  levels(frame) {
    const answered = this.#clicked?.frame === frame && this.tool !== "paint" && !this.state.painted.includes(frame);
    if (answered) return { value: this.#clicked.values, promise: null };
    return this.#kept(this.#masks, MASKS, `${frame}`, () => api.levels(this.id, frame));
  }

  keepLevels(frame, values) {
    this.#clicked = null;
    this.#masks.set(`${frame}`, { value: values, promise: null });
    this.paintRev++;
    this.changed();
  }

  forgetLevels(...frames) {
    for (const frame of frames) this.#masks.delete(`${frame}`);
    this.paintRev++;
    this.changed();
  }

  clicked(frame, values) {
    this.#clicked = values && { frame, values };
    this.paintRev++;
    this.changed();
  }

  #kept(map, most, key, fetch) {
    let entry = map.get(key);
    if (entry) map.delete(key);
    else {
      entry = { value: null, promise: null };
      const id = this.id;
      entry.promise = fetch().then(
        (value) => { entry.value = value; if (this.id === id) this.dispatchEvent(new Event("loaded")); },
        () => { map.delete(key); });
    }
    map.set(key, entry);
    while (map.size > most) map.delete(map.keys().next().value);
    return entry;
  }
}
