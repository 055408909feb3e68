// The studio's page. What is decided lives on the server; this only shows it and says what was done.

import { api } from "./api.js";
import { h, replace, say } from "./dom.js";
import { AFFECTED, BOTH, KEEP, OBJECT } from "./levels.js";
import { Paint } from "./paint.js";
import { affectedPanel, makePanel, toolPanel, viewBar } from "./panels.js";
import { Store } from "./store.js";
import { Timeline } from "./timeline.js";
import { Viewer } from "./viewer.js";

const KEYS = [
  ["← →", "a frame back or on (Shift: ten)"], ["Home End", "first, last frame"], ["Space", "play, stop"],
  ["P B T W Q", "tools: point, box, tell, way, paint"], ["F", "find what it caused"], ["M", "make the result"], ["V", "mask on or off"],
  ["Alt ← → ↑ ↓", "move the cross on the picture (Shift: a pixel)"], ["Enter", "use the tool at the cross (Shift or Backspace: take away)"],
  ["C R E K S D", "see: clip, result, wipe, blink, side by side, difference"],
  ["1 2 3 4", "paint: object, both, affected, keep"], ["[ ]", "paint: copy the frame before, after"], ["I", "paint: fill between"], ["− +", "paint: size"],
  ["Ctrl+Z", "undo (Shift: redo)"], ["?", "this list"],
];
const TOOLS = { p: "point", b: "box", t: "tell", w: "path", q: "paint" };
const VIEWS = { c: "clip", r: "result", e: "wipe", k: "blink", s: "side", d: "difference" };
const SOON_MS = 700; // after a change, before what it affects is looked for again

export async function start(root) {
  const style = h("link", { rel: "stylesheet", href: "/studio/static/studio.css" });
  await new Promise((done) => { style.onload = style.onerror = done; document.head.append(style); });
  document.documentElement.lang = "en";
  const store = new Store(), paint = new Paint(store), viewer = new Viewer(store, paint), timeline = new Timeline(store, viewer);
  let again = 0;
  const soon = () => {
    clearTimeout(again);
    again = setTimeout(() => { if (store.state?.found) (store.job ? soon() : store.run("mask")); }, SOON_MS);
  };
  store.addEventListener("directed", soon);
  const actions = {
    tool: (tool) => { store.tool = tool; store.view = "clip"; store.changed(); },
    prompts: (changes) => { store.clicked(store.frame, null); store.edit(changes); },
    ways: (ways) => store.edit({ ways }),
    path: (points) => viewer.setPath(points),
    select: (thing) => {
      store.selected = thing?.id ?? null;
      if (thing && (store.frame < thing.frames[0] || store.frame >= thing.frames[1])) store.go(thing.frames[0]);
      store.changed();
    },
  };
  viewer.element.addEventListener("tell", (event) => askAction(store, event.detail, (action) => {
    const at = { x: Math.round(event.detail.x * 10) / 10, y: Math.round(event.detail.y * 10) / 10 };
    store.edit({ told: [...store.doc.told, { ...at, frame: store.frame, action }] });
  }));
  store.addEventListener("result", () => { store.view = "wipe"; store.changed(); });
  const editor = h("div", { class: "editor" },
    h("div", { class: "column left" }, toolPanel(store, paint, actions)),
    h("div", { class: "middle" }, viewBar(store, viewer), viewer.element, timeline.element),
    h("div", { class: "column right" }, affectedPanel(store, actions), makePanel(store)));
  const home = h("div", { class: "home" });
  const bar = h("header", { class: "bar" });
  replace(root, bar, home, editor);
  const show = () => {
    const { state } = store;
    document.title = state ? `${state.document.name} – aftermath studio` : "aftermath studio";
    home.hidden = !!state;
    editor.hidden = !state?.clip;
    root.dataset.ready = state ? (state.clip ? "clip" : "reading") : "home";
    drawBar(bar, store, actions);
    if (state && !state.clip) { home.hidden = false; drawReading(home, store); }
  };
  store.addEventListener("change", show);
  const go = async () => {
    const id = location.hash.slice(1);
    if (!id) { store.close(); await drawHome(home, store); return; }
    if (id === store.id) return;
    try {
      paint.forget();
      store.open(await api.state(id));
      remember(id, store.state.document.name);
    } catch (error) { say(error.message); location.hash = ""; }
  };
  addEventListener("hashchange", go);
  addEventListener("keydown", (event) => key(event, store, paint, timeline, actions));
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => {
    event.preventDefault();
    if (name === "drop" && event.dataTransfer.files.length) send([...event.dataTransfer.files], home);
  });
  if (!location.hash) {
    const { opened } = await api.list().catch(() => ({}));
    if (opened) history.replaceState(null, "", `#${opened}`);
  }
  show();
  await go();
}

function drawBar(bar, store) {
  const { state, lost } = store;
  const key = JSON.stringify([state?.document.name, lost, state?.clip && [state.clip.width, state.clip.height, state.clip.frames, state.clip.warnings], store.id]);
  if (bar.dataset.shown === key) return;
  bar.dataset.shown = key;
  replace(bar,
    h("a", { href: "#", class: "brand", title: "All projects" }, "aftermath studio"),
    state ? h("input", { class: "title", value: state.document.name, maxLength: 100, "aria-label": "Name of the project",
      onchange: (e) => store.edit({ name: e.target.value.trim() || "clip" }) }) : null,
    state?.clip ? h("span", { class: "hint" }, `${state.clip.width}×${state.clip.height}, ${state.clip.frames} frames${state.clip.sound ? ", with sound" : ""}`) : null,
    state?.clip?.warnings.map((text) => h("span", { class: "warning" }, text)),
    h("span", { class: "grow" }),
    lost ? h("span", { class: "warning", role: "status" }, "the server does not answer: start it again; until then nothing that you change is kept") : null,
    state ? h("a", { href: "#", class: "button" }, "Open another") : null,
    h("button", { onclick: help, title: "Keys (?)", "aria-label": "Keys" }, "?"));
}

async function drawHome(home, store) {
  let listed = { projects: [], examples: [] };
  try { listed = await api.list(); } catch (error) { say(error.message); }
  if (store.state) return;
  const seen = new Set(listed.projects.map((one) => one.id));
  const projects = [...listed.projects, ...remembered().filter((one) => !seen.has(one.id))];
  const file = h("input", { type: "file", accept: "video/*,.mkv,.mxf,.mov", multiple: true, hidden: true, id: "file", onchange: () => send([...file.files], home) });
  replace(home,
    h("h1", {}, "Take something out of a film, and what it caused"),
    h("div", { class: "drop" }, file, h("p", {}, "Drop a video here, or several"), h("button", { class: "primary big", id: "choose", onclick: () => file.click() }, "Choose a file"),
      h("div", { class: "uploads" })),
    listed.examples.length ? h("section", {}, h("h2", {}, "Or try an example"), h("div", { class: "cards" }, listed.examples.map((name) =>
      h("button", { class: "card", onclick: async () => {
        try { location.hash = (await api.example(name)).id; } catch (error) { say(error.message); }
      } }, h("img", { src: api.example_picture(name), alt: "" }), h("strong", {}, name), h("span", {}, EXAMPLES[name] ?? ""))))) : null,
    projects.length ? h("section", {}, h("h2", {}, "Or go on with"), h("ul", { class: "projects" }, projects.map((one) =>
      h("li", {}, one.read ? h("img", { src: api.thumbnail(one.id), alt: "" }) : h("span", { class: "blank" }), h("a", { href: `#${one.id}` }, one.name), one.stands ? h("span", { class: "hint" }, one.stands) : null,
        h("button", { class: "icon", "aria-label": `Throw away ${one.name}`, title: "Throw it away", onclick: async () => {
          if (!confirm(`Throw away the project “${one.name}” and its result?`)) return;
          try { await api.forget(one.id); } catch (error) { say(error.message); }
          forgotten(one.id);
          drawHome(home, store);
        } }, "×"))))) : null);
}

const EXAMPLES = {
  collision: "A blue ball rolls into a red one. Without it, the red one stays.",
  support: "A vase on a stand. Without the stand, it falls.",
  passer: "A toy car drives through. What it hides is put back.",
  control: "A thing that nothing depends on.",
};

function drawReading(home, store) {
  const job = store.job ?? store.state.jobs.at(-1), failed = job?.state === "failed" || job?.state === "stopped";
  replace(home, h("h1", {}, store.state.document.name),
    failed ? h("p", { class: "warning", role: "alert" }, job.error || "stopped") : h("p", { role: "status" }, job?.state === "waiting" && job.before ? `waiting for ${job.before} other jobs` : "reading the clip…"),
    failed ? h("div", { class: "buttons" }, h("button", { onclick: () => store.run("read") }, "Try again"), h("a", { href: "#", class: "button" }, "Back"))
      : h("progress", { max: job?.total || 1, value: job?.total ? job.done : null }));
}

async function send(files, home) {
  const { upload_bytes: most } = await api.list().catch(() => ({}));
  let list = home.querySelector(".uploads");
  if (!list) { location.hash = ""; await new Promise((done) => setTimeout(done, 300)); list = home.querySelector(".uploads"); }
  const ids = [];
  for (const file of files) {
    const bar = h("progress", { max: file.size, value: 0 }), line = h("div", { class: "row" }, h("span", {}, file.name), bar);
    list?.append(line);
    try {
      if (most && file.size > most) throw new Error(`more than ${(most / 2 ** 30).toPrecision(3)} GB: cut out the part that matters`);
      const state = await api.upload(file, (done) => { bar.value = done; });
      ids.push(state.id);
      remember(state.id, state.document.name);
      line.append(h("a", { href: `#${state.id}` }, "open"));
    } catch (error) { line.append(h("span", { class: "warning" }, error.message)); bar.remove(); }
  }
  if (ids.length === 1) location.hash = ids[0];
}

// Where the server tells nobody of projects (a hosted demo), this browser knows its own.
const remembered = () => { try { return JSON.parse(localStorage.getItem("aftermath") || "[]"); } catch { return []; } };
const keep = (list) => { try { localStorage.setItem("aftermath", JSON.stringify(list.slice(0, 30))); } catch { /* private window */ } };
const remember = (id, name) => keep([{ id, name }, ...remembered().filter((one) => one.id !== id)]);
const forgotten = (id) => keep(remembered().filter((one) => one.id !== id));

function askAction(store, at, choose) {
  const dialog = h("dialog", { class: "ask", "aria-label": "What becomes of it" }, h("p", {}, "Without the object, the thing there"),
    h("div", { class: "buttons" }, [["falls", "falls"], ["stays", "stays where it was"], ["goes-on", "goes on"], ["vanishes", "vanishes"]].map(([action, text]) =>
      h("button", { onclick: () => { dialog.close(); choose(action); } }, text))),
    h("button", { class: "plain", onclick: () => dialog.close() }, "Never mind"));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function help() {
  const dialog = h("dialog", { class: "help", "aria-label": "Keys" }, h("h2", {}, "Keys"), h("table", {}, KEYS.map(([keys, what]) => h("tr", {}, h("th", {}, keys), h("td", {}, what)))),
    h("button", { class: "primary", onclick: () => dialog.close() }, "Close"));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

function key(event, store, paint, timeline, actions) {
  const target = event.target, typing = target.matches?.("input:not([type=radio]):not([type=checkbox]):not([type=range]), textarea, select");
  if (!store.clip || typing || document.querySelector("dialog[open]")) return;
  const ctrl = event.ctrlKey || event.metaKey, name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const frames = { ArrowLeft: -1, ArrowRight: 1 }[name];
  const inGroup = target.matches?.("input[type=radio], input[type=range]:not(#scrub)");
  if (frames && !event.altKey && !ctrl && !inGroup) store.go(store.frame + frames * (event.shiftKey ? 10 : 1));
  else if (ctrl && name === "z") event.shiftKey ? store.redo() : store.undo();
  else if (ctrl && name === "y") store.redo();
  else if (ctrl || event.altKey) return;
  else if (name === "Home") store.go(0);
  else if (name === "End") store.go(store.clip.frames - 1);
  else if (name === " " && !target.matches?.("button, input:not([type=range]), summary, a")) timeline.toggle();
  else if (TOOLS[name]) actions.tool(TOOLS[name]);
  else if (name === "f") document.querySelector("#find:not(:disabled)")?.click();
  else if (name === "m") document.querySelector("#make:not(:disabled)")?.click();
  else if (name === "v") { store.overlay = !store.overlay; store.changed(); }
  else if (name === "?") help();
  else if (VIEWS[name]) { if (name === "c" || store.state.result?.shown) { store.view = VIEWS[name]; store.changed(); } }
  else if (store.tool === "paint" && "1234".includes(name)) { paint.level = [OBJECT, BOTH, AFFECTED, KEEP][name - 1]; store.changed(); }
  else if (store.tool === "paint" && name === "[") paint.copyFrom(-1);
  else if (store.tool === "paint" && name === "]") paint.copyFrom(1);
  else if (store.tool === "paint" && name === "i") paint.fillBetween();
  else if (store.tool === "paint" && (name === "-" || name === "+" || name === "=")) { paint.size = Math.max(2, Math.min(160, paint.size * (name === "-" ? 0.8 : 1.25))); store.changed(); }
  else return;
  event.preventDefault();
}
