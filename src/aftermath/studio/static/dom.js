// Elements made from data: text is always text, never markup, whatever a file or a model is called.

export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "style") Object.assign(element.style, value);
    else if (name in element && !["list", "form", "type", "width", "height"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function replace(element, ...children) {
  element.replaceChildren(...children.flat(9).filter((c) => c !== null && c !== undefined && c !== false));
}

// Draws a part of the page again only where what it shows has changed, and keeps the focus where it was. It is drawn
// after the event that changed it, when the focus has gone where that event sends it.
export function painter(element, draw) {
  let shown = null, waiting = null, timer = 0;
  return (data) => {
    const key = JSON.stringify(data);
    if (key === shown) return;
    shown = key;
    waiting = data;
    timer ||= setTimeout(() => { timer = 0; show(waiting); });
  };
  function show(data) {
    const focused = element.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    replace(element, draw(data));
    if (focused) element.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }
}

export function radios(name, label, options, chosen, choose) {
  return h("div", { class: "radios", role: "radiogroup", "aria-label": label },
    options.map(([value, text, title, disabled]) =>
      h("label", { class: disabled ? "off" : value === chosen ? "on" : "", title: title || "" },
        h("input", { type: "radio", name, value, checked: value === chosen, disabled: !!disabled,
          "data-key": `${name}-${value}`, onchange: () => choose(value),
          // chosen by the mouse it leaves the arrow keys to the frames: at once, or the next key would choose another
          onfocus: (event) => event.target.matches(":focus-visible") || event.target.blur() }), text)));
}

let toasts = null;
export function say(text, bad = true) {
  toasts ??= document.body.appendChild(h("div", { id: "toasts", role: "alert", "aria-live": "assertive" }));
  for (const old of [...toasts.children]) if (old.dataset.text === text) old.remove();
  const toast = h("div", { class: bad ? "toast bad" : "toast", "data-text": text }, text,
    h("button", { "aria-label": "Close", onclick: () => toast.remove() }, "×"));
  toasts.append(toast);
  while (toasts.children.length > 3) toasts.firstChild.remove();
  setTimeout(() => toast.remove(), bad ? 15000 : 5000);
}

export const seconds = (s) =>
  s < 90 ? `${Math.max(0, Math.round(s))} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`;
