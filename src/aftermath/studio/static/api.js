// What is asked of the server. Every answer that is not good becomes an Error with the server's own line.

const ROOT = "/studio/api";

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(ROOT + path, options);
  } catch {
    throw new Error("the server does not answer, so this was not kept; start it again: what was kept before is there");
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(told.error || `the server answered ${answer.status}`), { code: answer.status });
  }
  return answer;
}

const json = (method, body) => ({ method, body: JSON.stringify(body), headers: { "content-type": "application/json" } });
const project = (id) => `/projects/${encodeURIComponent(id)}`;

export const api = {
  list: async () => (await ask("/projects")).json(),
  example: async (name) => (await ask(`/examples/${encodeURIComponent(name)}`, { method: "POST" })).json(),
  state: async (id) => (await ask(project(id))).json(),
  edit: async (id, changes) => (await ask(project(id), json("PATCH", changes))).json(),
  forget: (id) => ask(project(id), { method: "DELETE" }),
  run: async (id, kind) => (await ask(`${project(id)}/run/${kind}`, { method: "POST" })).json(),
  stop: async (id) => (await ask(`${project(id)}/stop`, { method: "POST" })).json(),
  click: async (id, frame, document) =>
    new Uint8Array(await (await ask(`${project(id)}/click`, json("POST", { frame, document }))).arrayBuffer()),
  levels: async (id, frame) => new Uint8Array(await (await ask(`${project(id)}/levels/${frame}`)).arrayBuffer()),
  paint: async (id, frame, values) =>
    (await ask(`${project(id)}/levels/${frame}`, { method: "PUT", body: values })).json(),
  unpaint: async (id, frame) => (await ask(`${project(id)}/levels/${frame}`, { method: "DELETE" })).json(),
  between: async (id, first, last) => (await ask(`${project(id)}/between`, json("POST", { first, last }))).json(),
  picture: async (id, side, frame, rev) =>
    createImageBitmap(await (await ask(`${project(id)}/frames/${side}/${frame}?rev=${rev}`)).blob()),
  example_picture: (name) => `${ROOT}/examples/${encodeURIComponent(name)}/picture`,
  thumbnail: (id) => `${ROOT}${project(id)}/frames/before/0?width=96`,
  strip: (id, count) => `${ROOT}${project(id)}/strip?count=${count}`,
  file: (id, what, rev = 0) => `${ROOT}${project(id)}/files/${what}?rev=${rev}`,
  news: (id) => new EventSource(`${ROOT}${project(id)}/events`),

  // With progress, which fetch does not tell of an upload.
  upload: (file, progress) => new Promise((done, failed) => {
    const request = new XMLHttpRequest();
    request.open("POST", `${ROOT}/projects?name=${encodeURIComponent(file.name)}`);
    request.upload.onprogress = (event) => progress(event.loaded, event.total);
    request.onload = () => {
      let told = {};
      try { told = JSON.parse(request.responseText); } catch { /* not ours */ }
      if (request.status === 200) done(told);
      else failed(new Error(told.error || `the server answered ${request.status}`));
    };
    request.onerror = () => failed(new Error(`${file.name} could not be sent; it may be too large, or the server was stopped`));
    request.send(file);
  }),
};
