// The columns beside the picture, in the order of the work: the object, what it caused, the result.

import { api } from "./api.js";
import { h, painter, radios, say, seconds } from "./dom.js";
import { AFFECTED, BOTH, COLOURS, KEEP, NAMES, OBJECT } from "./levels.js";
import { pathOf } from "./viewer.js";

const ACTIONS = [["falls", "falls"], ["stays", "stays"], ["goes-on", "goes on"], ["vanishes", "vanishes"]];
const STAGES = { read: "reading the clip", shrink: "reading the clip", camera: "watching the camera", download: "fetching weights",
  segment: "following the object", scene: "looking what moves", reason: "working out what it caused",
  regions: "drawing the quadmask", quadmask: "drawing the quadmask", mask_output: "keeping the quadmask",
  contact_sheet: "making pictures", mask_preview: "making pictures", render: "painting", output: "writing the film",
  preview: "making pictures", side_by_side: "making pictures", show: "fetching the result" };

const step = (number, title, ...content) =>
  h("section", { class: "step" }, h("h2", {}, h("span", { class: "number" }, number), title), content);

export function toolPanel(store, paint, actions) {
  const tools = h("div", {}), marks = h("div", {}), words = h("input", { id: "words", type: "text", maxLength: 500,
    placeholder: "or in words: the red ball", "aria-label": "The object in words", onchange: () => words.value.trim() !== store.doc.text && store.edit({ text: words.value.trim(), pick: [] }) });
  const drawTools = painter(tools, (tool) => radios("tool", "Tool", [
    ["point", "+ Point", "Click on the object; right click: not this. Pull to draw a box (P)"],
    ["box", "▭ Box", "Draw a box round the object (B)"],
    ["tell", "! Tell", "Click on another thing and say what becomes of it (T)"],
    ["path", "⤳ Path", "Drag the way of a thing in the list (W)"],
    ["paint", "✎ Paint", "Paint the quadmask, frame by frame (Q)"],
  ], tool, actions.tool));
  const pick = (text) => store.edit({ pick: [...new Set((text.match(/\d+/g) ?? []).map(Number).filter((n) => n > 0))] });
  const drawMarks = painter(marks, ({ doc, tool, found, busy, fresh, matches, rev }) => [
    h("p", { class: "hint" }, HINTS[tool]),
    doc.text && doc.boxes.length + doc.points.length ? h("p", { class: "hint" }, "The words are used; take them away to use what you pointed at.") : null,
    doc.text && matches ? [h("a", { href: api.file(store.id, "matches", rev), target: "_blank" }, h("img", { class: "matches", alt: "what the words fit, numbered", src: api.file(store.id, "matches", rev) })),
      h("label", { class: "row" }, "which of them", h("input", { type: "text", value: doc.pick.join(", "), placeholder: "the best", "data-key": "pick", "aria-label": "Numbers of the things that are meant", onchange: (e) => pick(e.target.value) }))] : null,
    doc.boxes.length + doc.points.length + doc.text.length === 0 ? null : h("ul", { class: "marks-list" },
      doc.text ? mark(`“${doc.text}”`, null, () => { words.value = ""; store.edit({ text: "" }); }) : null,
      doc.boxes.map((box, i) => mark(`box in frame ${box.frame}`, () => store.go(box.frame),
        () => actions.prompts({ boxes: doc.boxes.filter((_, j) => j !== i) }))),
      doc.points.map((point, i) => mark(`${point.positive ? "this" : "not this"}, frame ${point.frame}`, () => store.go(point.frame),
        () => actions.prompts({ points: doc.points.filter((_, j) => j !== i) })))),
    h("button", { id: "find", class: found && fresh ? "" : "primary", disabled: busy || !pointed(doc), "data-key": "find",
      title: "Follow the object through the clip and look what it caused (F)", onclick: () => store.run("mask") },
    found ? (fresh ? "Found ✓" : "Find again") : "Find what it caused"),
  ]);
  const paintBox = h("div", {});
  const drawPaint = painter(paintBox, (state) => state && paintPanel(store, paint, state));
  store.addEventListener("change", () => {
    if (!store.state) return;
    const { document: doc, mask, found, painted } = store.state;
    if (document.activeElement !== words) words.value = doc.text;
    drawTools(store.tool);
    drawMarks({ doc: { boxes: doc.boxes, points: doc.points, text: doc.text, pick: doc.pick }, matches: mask.matches, rev: encodeURIComponent(mask.rev), tool: store.tool, found, fresh: mask.fresh, busy: !!store.job });
    drawPaint(store.tool === "paint" ? { level: paint.level, mode: paint.mode, size: paint.size, frame: store.frame, painted,
      undo: store.history.done.length > 0, redo: store.history.undone.length > 0, ends: paint.neighbours() } : null);
  });
  return step(1, "The object", tools, paintBox, h("div", { class: "row" }, words), marks);
}

const HINTS = {
  point: "Click on what is to go. Right click (or Alt and click) on what is not it. Pull for a box.",
  box: "Draw a box close round what is to go.",
  tell: "Click on a thing that the object held, stopped or pushed, and say what it does without it.",
  path: "Choose a thing in the list on the right, go to a frame, and drag the ring where the thing should be then.",
  paint: "Paint what may change. Right button or Alt: keep. Each frame that you paint is used as you left it.",
};

const mark = (text, go, drop) => h("li", {},
  h("button", { class: "plain", disabled: !go, onclick: go }, text),
  h("button", { class: "icon", "aria-label": `Take away: ${text}`, onclick: drop }, "×"));

const pointed = (doc) => doc.text || doc.boxes.length || doc.points.some((point) => point.positive);

function paintPanel(store, paint, state) {
  const set = (changes) => { Object.assign(paint, changes); store.changed(); };
  const swatch = (level) => h("span", { class: "swatch", style: { background: level === KEEP ? "#3a3f47" : `rgb(${COLOURS[level]})` } });
  const button = (id, text, title, act, disabled = false) => h("button", { id, title, disabled, onclick: act, "data-key": id }, text);
  return h("div", { class: "paint" },
    radios("level", "What to paint", [OBJECT, BOTH, AFFECTED, KEEP].map((level, i) =>
      [String(level), [swatch(level), level === KEEP ? "keep (eraser)" : NAMES[level]], `${i + 1}`]), String(state.level), (level) => set({ level: Number(level) })),
    radios("mode", "With what", [["brush", "brush"], ["fill", "fill"], ["cells", "cells"]], state.mode, (mode) => set({ mode })),
    h("label", { class: "row" }, "size", h("input", { type: "range", min: 2, max: 160, value: state.size, "aria-label": "Size of the brush", "data-key": "size",
      oninput: (e) => set({ size: Number(e.target.value) }) })),
    h("div", { class: "buttons" },
      button("undo", "↶ undo", "Ctrl+Z", () => store.undo(), !state.undo),
      button("redo", "↷ redo", "Ctrl+Shift+Z", () => store.redo(), !state.redo),
      button("copy-previous", "copy previous", "The frame before, as it is ([)", () => paint.copyFrom(-1)),
      button("copy-next", "copy next", "The frame after, as it is (])", () => paint.copyFrom(1)),
      button("between", state.ends ? `fill ${state.ends[0] + 1} to ${state.ends[1] - 1}` : "fill between",
        "Between the painted frames round this one, from one shape to the other (I)", () => paint.fillBetween(), !state.ends),
      button("clear", "as found", "Forget what was painted in this frame", () => paint.clear(), !state.painted.includes(state.frame))),
    h("p", { class: "hint" }, state.painted.length ? `${state.painted.length} painted ${state.painted.length > 1 ? "frames" : "frame"}` : "No frame is painted yet."));
}

export function affectedPanel(store, actions) {
  const list = h("div", { id: "affected" });
  const draw = painter(list, ({ affected, found, doc, selected, frame, told, warnings, notes, camera, busy }) => {
    if (!found) return h("p", { class: "hint" }, busy ? "Being worked out…" : "Nothing was looked for yet: show the object, then “Find what it caused”.");
    return [
      affected.length ? null : h("p", { class: "hint" }, "Nothing else is affected, as far as can be seen. If something is, say so with the tool “Tell”."),
      affected.map((thing) => card(store, actions, thing, doc, selected, frame)),
      told.length ? h("h3", {}, "What you said") : null,
      told.map((one, i) => h("div", { class: "told" }, `the thing at ${Math.round(one.x)}, ${Math.round(one.y)} ${one.action}`,
        h("button", { class: "icon", "aria-label": "Take this back", onclick: () => actions.prompts({ told: told.filter((_, j) => j !== i) }) }, "×"))),
      [...warnings, ...notes].map((text) => h("p", { class: "warning" }, text)),
      h("p", { class: "hint" }, `${camera ? `Camera: ${camera}. ` : ""}In frame 0 all that may change is drawn as the object: VOID was trained so.`),
    ];
  });
  store.addEventListener("change", () => {
    if (!store.state) return;
    const { affected, found, document: doc, mask } = store.state;
    draw({ affected, found, doc: { ways: doc.ways }, selected: store.selected, frame: store.tool === "path" ? store.frame : 0, told: doc.told,
      warnings: mask.warnings, notes: mask.notes, camera: mask.camera, busy: store.job?.kind === "mask" });
  });
  return step(2, "What it caused", list);
}

function card(store, actions, thing, doc, selected, frame) {
  const way = doc.ways[thing.id] ?? {}, on = thing.id === selected;
  const change = (changes) => actions.ways({ ...doc.ways, [thing.id]: { ...way, ...changes } });
  const points = on ? pathOf(thing, doc) : [];
  const set = (i, place, value) => {
    const next = points.map((point) => [...point]), { width, height, frames } = store.clip;
    const [least, most] = [[thing.frames[0], frames - 1], [-width, 2 * width], [-height, 2 * height]][place];
    next[i][place] = Math.max(least, Math.min(most, value));
    if (place === 0 && points.some(([frame], j) => j !== i && frame === next[i][0])) {
      say(`the path has a point in frame ${next[i][0]} already`);
      return store.changed();
    }
    actions.path(next.sort((a, b) => a[0] - b[0]));
  };
  const number = (i, place, label) => h("input", { type: "number", value: Math.round(points[i][place] * 10) / 10, step: place ? 0.1 : 1, "aria-label": `${label} of point ${i + 1}`,
    "data-key": `p${i}-${place}`, onchange: (e) => Number.isFinite(e.target.valueAsNumber) && set(i, place, place ? e.target.valueAsNumber : Math.round(e.target.valueAsNumber)) });
  return h("article", { class: `thing${on ? " on" : ""}${thing.applied ? "" : " off"}` },
    h("div", { class: "row" },
      h("label", { class: "switch", title: thing.applied ? "It is acted on" : "It is offered, and not acted on" },
        h("input", { type: "checkbox", checked: thing.applied, "data-key": `on-${thing.id}`, "aria-label": `act on ${thing.noun}`,
          onchange: (e) => change({ applied: e.target.checked }) })),
      h("button", { class: "plain name", "data-key": `name-${thing.id}`, "aria-expanded": String(on), title: "Show it; with the tool Path, direct it",
        onclick: () => actions.select(on ? null : thing) }, thing.noun),
      h("select", { "aria-label": `what ${thing.noun} does`, "data-key": `action-${thing.id}`, onchange: (e) => change({ action: e.target.value, path: null, applied: true }) },
        ACTIONS.map(([value, text]) => h("option", { value, selected: value === thing.action }, text)))),
    h("p", { class: "why" }, thing.why, h("span", { class: "sure", title: "how sure the finding is" }, ` ${Math.round(thing.confidence * 100)}%`),
      ` · frames ${thing.frames[0]} to ${thing.frames[1] - 1}`),
    on && thing.category === "physical" ? h("details", { open: store.tool === "path" || points.length > 1 },
      h("summary", {}, way.path ? "its way, as you drew it" : "its way"),
      h("table", { class: "path" }, h("tr", {}, ["frame", "x", "y", ""].map((text) => h("th", {}, text))),
        points.map((point, i) => h("tr", { class: point[0] === frame ? "here" : "" },
          [number(i, 0, "frame"), number(i, 1, "x"), number(i, 2, "y")].map((cell) => h("td", {}, cell)),
          h("td", {}, h("button", { class: "icon", "aria-label": `Take away point ${i + 1}`, disabled: points.length < 2,
            onclick: () => actions.path(points.filter((_, j) => j !== i)) }, "×"))))),
      h("div", { class: "buttons" },
        h("button", { onclick: () => actions.tool("path") }, "drag it on the picture"),
        way.path ? h("button", { onclick: () => change({ path: null }) }, "as found") : null),
      points.length < 2 ? h("p", { class: "hint" }, "Until you drag it, its way is worked out when it is painted.") : null) : null);
}

export function makePanel(store) {
  const choices = h("div", {}), run = h("div", { "aria-live": "polite" }), out = h("div", { id: "result" });
  const prompt = h("input", { id: "prompt", type: "text", maxLength: 500, placeholder: "the scene without it (VOID reads this)", "aria-label": "The scene without it, in words",
    onchange: () => store.edit({ prompt: prompt.value }) });
  const set = (changes) => store.edit({ choices: { ...store.doc.choices, ...changes } });
  const drawChoices = painter(choices, ({ chosen, engine, estimate, given }) => {
    const name = chosen.engine === "void" && chosen.model ? chosen.model : chosen.engine;
    const told = !engine.name ? engine.why : name === "nano" ? "nano: small and quick, and blurred" : `${engine.name}: ${engine.why}`;
    prompt.parentElement.hidden = engine.name !== "void";
    return [
      radios("engine", "Who paints", [["auto", "auto", "The best that can run here"], ["draft", "draft", "Cuts and pastes what the clip shows; any computer"],
        ["nano", "nano", "A small model, in the program; blurred"], ["void", "VOID", "The published model; wants its weights and a graphics card"],
        ...(given ? [["given", given, "The model that the server was started with"]] : [])],
      name, (value) => set(value === "nano" || value === "given" ? { engine: "void", model: value } : { engine: value, model: "" })),
      h("p", { class: engine.name ? "hint" : "warning" }, told),
      chosen.engine === "void" || engine.name === "void" ? radios("quality", "How well", [["quick", "quick", "Fewer steps; not exact"], ["normal", "normal"],
        ["best", "best", "A second pass that steadies", chosen.model === "nano"]], chosen.quality, (quality) => set({ quality })) : null,
      h("details", { "data-key": "more", open: store.more, ontoggle: (e) => { store.more = e.target.open; } }, h("summary", {}, "More"),
        choice("file", [["h264", "H.264, .mp4"], ["hevc", "HEVC, .mp4"], ["prores", "ProRes, .mov"], ["ffv1", "lossless, .mkv"]], chosen.codec, (codec) => set({ codec })),
        choice("regions", [["exact", "the things' own shapes"], ["grid", "whole cells"]], chosen.regions, (regions) => set({ regions })),
        choice("what it caused, by", [["motion", "what moves"], ["motion+gemini", "motion and Gemini"], ["motion+openai", "motion and a model of yours"], ["gemini", "Gemini"], ["openai", "a model of yours"]],
          chosen.reasoner, (reasoner) => set({ reasoner })),
        h("label", { class: "row" }, "seed", h("input", { type: "number", min: 0, step: 1, value: chosen.seed, "data-key": "seed", onchange: (e) => set({ seed: Math.max(0, Math.round(e.target.valueAsNumber || 0)) }) })),
        h("label", { class: "row" }, h("input", { type: "checkbox", checked: chosen.credentials, "data-key": "cred", onchange: (e) => set({ credentials: e.target.checked }) }), "sign it: Content Credentials that say it was edited")),
      h("p", { class: "hint", id: "estimate" }, estimate),
    ];
  });
  const drawRun = painter(run, ({ job, ready, fresh, left }) => job
    ? h("div", { class: "running" }, h("progress", { max: job.total || 1, value: job.total ? job.done : null, "aria-label": "how far it is" }),
      h("div", { class: "row" }, h("span", {}, job.state === "waiting" ? (job.before ? `waiting for ${job.before} other${job.before > 1 ? "s" : ""}` : "begins") : `${STAGES[job.stage] ?? (job.stage || "begins")}…${left}`),
        h("button", { id: "stop", "data-key": "stop", title: "What is done so far stays", onclick: () => store.stop() }, "Cancel")))
    : h("button", { id: "make", class: "primary big", "data-key": "make", disabled: !ready, title: "Make the result (M)", onclick: () => store.run("remove") },
      fresh ? "Remove it ✓ (made)" : "Remove it"));
  const drawOut = painter(out, ({ id, result, found, last }) => [
    last?.state === "failed" ? h("p", { class: "warning", role: "alert" }, last.error) : null,
    last?.state === "stopped" ? h("p", { class: "hint" }, "Cancelled; what was done is kept, and it goes on from there.") : null,
    result ? [
      result.fresh ? null : h("p", { class: "warning" }, "You changed something since: this result is of before."),
      h("p", { class: "hint" }, `painted by ${result.model || result.engine} in ${seconds(result.seconds)}` + (result.invented === null ? "" : `, ${(result.invented * 100).toFixed(1)}% of it invented`)),
      result.credentials ? h("p", { class: "hint" }, `not signed: ${result.credentials}`) : null,
      result.warnings.map((text) => h("p", { class: "warning" }, text)),
    ] : null,
    h("div", { class: "downloads" },
      [["video", result ? `Video (${size(result.bytes)})` : null], ["quadmask", found ? "Quadmask" : null], ["plan", found ? "Plan" : null],
        ["side-by-side", result ? "Side by side" : null], ["sheet", result ? "Contact sheet" : null], ["record", result ? "Record" : null], ["project", "Project"]]
        .filter(([, text]) => text).map(([what, text]) => h("a", { class: what === "video" ? "button primary" : "button", href: api.file(id, what, result?.rev ?? 0),
          download: what === "sheet" ? "contact_sheet.png" : "", "data-key": what }, `↓ ${text}`))),
  ]);
  let rate = null;
  store.addEventListener("change", () => {
    const { state, job } = store;
    if (!state) return;
    if (document.activeElement !== prompt) prompt.value = state.document.prompt;
    drawChoices({ chosen: state.document.choices, engine: state.engine, estimate: state.estimate, given: state.given });
    if (!job || rate?.stage !== job.stage) rate = job && { stage: job.stage, began: performance.now(), done: job.done };
    const gone = rate && (performance.now() - rate.began) / 1000, did = job && job.done - rate.done;
    const left = job && did > 0 && gone > 2 && job.total > job.done ? ` ${seconds(((job.total - job.done) / did) * gone)} left` : "";
    drawRun({ job: job && { state: job.state, stage: job.stage, done: job.done, total: job.total, before: job.before }, left, ready: !!pointed(state.document) && !!state.clip && !!state.engine.name, fresh: !!state.result?.fresh });
    drawOut({ id: state.id, result: state.result, found: state.found && state.mask.fresh, last: job ? null : state.jobs.at(-1) });
  });
  run.className = "run";
  return step(3, "The result", choices, h("div", { class: "row" }, prompt), run, out);
}

const choice = (label, options, chosen, choose) => h("label", { class: "row" }, label, h("select", { "data-key": `choice-${label}`, onchange: (e) => choose(e.target.value) },
  options.map(([value, text]) => h("option", { value, selected: value === chosen }, text))));

const size = (bytes) => (bytes > 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1000)} kB`);

export function viewBar(store, viewer) {
  const bar = h("div", { class: "viewbar" });
  const draw = painter(bar, ({ view, result, overlay, wipe, found }) => [
    radios("view", "What to see", [["clip", "Clip"], ["result", "Result", "", !result], ["wipe", "Wipe", "", !result], ["blink", "Blink", "", !result],
      ["side", "Side by side", "", !result], ["difference", "Difference", "How far the two are apart, eight times as bright", !result]], view, (next) => { store.view = next; store.changed(); }),
    view === "wipe" ? h("input", { type: "range", min: 0, max: 1, step: 0.01, value: wipe, "aria-label": "Where the wipe is", "data-key": "wipe",
      oninput: (e) => viewer.setWipe(Number(e.target.value)) }) : null,
    view === "clip" ? h("label", { class: "row" }, h("input", { type: "checkbox", checked: overlay, "data-key": "overlay", id: "overlay",
      onchange: (e) => { store.overlay = e.target.checked; store.changed(); } }), "mask", found ? legend() : null) : null,
  ]);
  const redraw = () => store.state && draw({ view: store.view, result: !!store.state.result?.shown, overlay: store.overlay, wipe: store.view === "wipe" ? viewer.wipe : 0, found: store.state.found });
  store.addEventListener("change", redraw);
  viewer.element.addEventListener("wipe", redraw);
  return bar;
}

const legend = () => h("span", { class: "legend" }, [OBJECT, BOTH, AFFECTED].map((level) =>
  h("span", {}, h("span", { class: "swatch", style: { background: `rgb(${COLOURS[level]})` } }), NAMES[level])));
