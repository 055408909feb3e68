// Painting the quadmask: strokes on the frame that is shown, kept by the server after each; undo and redo.

import { api } from "./api.js";
import { say } from "./dom.js";
import { KEEP, OBJECT, cell, fill, grid, stroke } from "./levels.js";

export class Paint {
  level = OBJECT;
  mode = "brush"; // brush, fill, cells
  size = 24; // analysed pixels across
  stroking = false;
  #working = null; // { frame, before, values, last }
  #sent = Promise.resolve();

  constructor(store) { this.store = store; }

  forget() { [this.#working, this.stroking] = [null, false]; }

  grid() { return grid(...this.store.clip.analysed); }

  // What is being painted on a frame and not kept yet.
  live(frame) { return this.#working?.frame === frame ? this.#working.values : null; }

  begin(at, erase) {
    const { frame, clip } = this.store, before = this.store.levels(frame).value;
    if (!before) { say("the mask of this frame is still on its way", false); return; }
    this.#working = { frame, before, values: before.slice(), last: at, level: erase ? KEEP : this.level };
    this.stroking = true;
    const [w, h] = clip.analysed;
    if (this.mode === "fill") fill(this.#working.values, w, h, Math.floor(at.x), Math.floor(at.y), this.#working.level);
    else this.move(at);
  }

  move(at) {
    const work = this.#working;
    if (!work || this.mode === "fill") return;
    const [w, h] = this.store.clip.analysed;
    if (this.mode === "cells") {
      const steps = Math.max(1, Math.ceil(Math.hypot(at.x - work.last.x, at.y - work.last.y) / 4));
      for (let i = 0; i <= steps; i++) {
        const [x, y] = [work.last.x + ((at.x - work.last.x) * i) / steps, work.last.y + ((at.y - work.last.y) * i) / steps];
        cell(work.values, w, h, Math.floor(x), Math.floor(y), work.level);
      }
    }
    else stroke(work.values, w, h, work.last, at, this.size / 2, work.level);
    work.last = at;
  }

  end() {
    const work = this.#working;
    this.#working = null;
    this.stroking = false;
    if (work) this.#keep([{ frame: work.frame, before: this.#known(work.frame, work.before), after: work.values }]);
  }

  // What stood there: null where nothing was painted, so that undoing leaves nothing painted.
  #known(frame, values) { return this.store.state.painted.includes(frame) ? values : null; }

  #keep(changes) {
    this.store.done(() => this.#send(changes, "before"), () => this.#send(changes, "after"));
    return this.#send(changes, "after");
  }

  #send(changes, side) {
    const { id } = this.store;
    for (const change of changes) {
      if (change[side]) this.store.keepLevels(change.frame, change[side]);
      else this.store.forgetLevels(change.frame);
    }
    this.#sent = this.#sent.then(async () => {
      try {
        let told = null;
        for (const { frame, ...sides } of changes)
          told = sides[side] ? await api.paint(id, frame, sides[side]) : await api.unpaint(id, frame);
        if (told && this.store.id === id) this.store.painted(told);
        for (const { frame, ...sides } of changes) if (!sides[side]) this.store.forgetLevels(frame);
      } catch (error) {
        say(error.message);
        this.store.forgetLevels(...changes.map((change) => change.frame)); // shown is what is kept
      }
    });
    return this.#sent;
  }

  async copyFrom(step) {
    const { id, frame, clip } = this.store, other = frame + step;
    if (other < 0 || other >= clip.frames) return;
    await this.#sent;
    const [here, there] = await Promise.all([api.levels(id, frame), api.levels(id, other)]);
    this.#keep([{ frame, before: this.#known(frame, here), after: there }]);
  }

  async clear() {
    const { id, frame, state } = this.store;
    if (!state.painted.includes(frame)) return;
    await this.#sent;
    const values = await api.levels(id, frame);
    this.#keep([{ frame, before: values, after: null }]);
  }

  // The painted frames round the one that is shown; null where there are not two.
  neighbours() {
    const { painted } = this.store.state, { frame } = this.store;
    const first = painted.findLast((one) => one <= frame && painted.some((other) => other > one));
    const last = painted.find((one) => one > (first ?? Infinity) + 1 && one > frame - 1);
    return first !== undefined && last !== undefined && last - first > 1 ? [first, last] : null;
  }

  async fillBetween() {
    const ends = this.neighbours(), { id } = this.store;
    if (!ends) return;
    await this.#sent;
    const between = Array.from({ length: ends[1] - ends[0] - 1 }, (_, i) => ends[0] + 1 + i);
    try {
      const before = await Promise.all(between.map(async (frame) =>
        this.store.state.painted.includes(frame) ? await api.levels(id, frame) : null));
      const told = await api.between(id, ...ends);
      const after = await Promise.all(between.map(async (frame) => await api.levels(id, frame)));
      const changes = between.map((frame, i) => ({ frame, before: before[i], after: after[i] }));
      this.store.done(() => this.#send(changes, "before"), () => this.#send(changes, "after"));
      this.store.painted(told);
      this.store.forgetLevels(...between);
      say(`${between.length} frames between ${ends[0]} and ${ends[1]} were filled`, false);
    } catch (error) { say(error.message); }
  }
}
