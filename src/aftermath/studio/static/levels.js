// The four values of a quadmask, drawn and painted. One byte a pixel, at the size that is analysed.

export const OBJECT = 0, BOTH = 63, AFFECTED = 127, KEEP = 255;
export const COLOURS = { [OBJECT]: [225, 40, 60], [BOTH]: [255, 130, 0], [AFFECTED]: [255, 215, 80] };
export const NAMES = { [OBJECT]: "object", [BOTH]: "both", [AFFECTED]: "affected", [KEEP]: "keep" };

const SHORT_SIDE_CELLS = 8;

// The reference's grid: 8 cells on the short side and as many on the long one as make them nearly square.
export function grid(width, height) {
  const aspect = width / height;
  const rows = aspect >= 1 ? SHORT_SIDE_CELLS : Math.round(SHORT_SIDE_CELLS / aspect);
  const cols = aspect < 1 ? SHORT_SIDE_CELLS : Math.round(SHORT_SIDE_CELLS * aspect);
  const border = (count, side) => Array.from({ length: count + 1 }, (_, i) => Math.trunc((i * side) / count));
  return { rows: border(rows, height), cols: border(cols, width) };
}

// Half clear inside, and with an outline, so that it can be told from a thing of its own colour.
export function picture(values, width, height) {
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const inside = new Uint32Array(256), outline = new Uint32Array(256);
  for (const [level, [r, g, b]] of Object.entries(COLOURS)) {
    inside[level] = (120 << 24 | b << 16 | g << 8 | r) >>> 0;
    outline[level] = (255 << 24 | b << 16 | g << 8 | r) >>> 0;
  }
  for (let i = 0; i < values.length; i++) {
    const level = values[i];
    if (level === KEEP) continue;
    const edge = values[i - 1] !== level || values[i + 1] !== level || values[i - width] !== level || values[i + width] !== level;
    pixels[i] = (edge ? outline : inside)[level];
  }
  return image;
}

export function dab(values, width, height, x, y, radius, level) {
  const r2 = radius * radius;
  for (let row = Math.max(0, Math.ceil(y - radius)); row <= Math.min(height - 1, Math.floor(y + radius)); row++) {
    const reach = Math.sqrt(Math.max(0, r2 - (row - y) ** 2));
    const from = Math.max(0, Math.ceil(x - reach)), to = Math.min(width - 1, Math.floor(x + reach));
    if (to >= from) values.fill(level, row * width + from, row * width + to + 1);
  }
}

export function stroke(values, width, height, from, to, radius, level) {
  const steps = Math.max(1, Math.ceil(Math.hypot(to.x - from.x, to.y - from.y) / Math.max(1, radius / 3)));
  for (let i = 0; i <= steps; i++) {
    const share = i / steps;
    dab(values, width, height, from.x + (to.x - from.x) * share, from.y + (to.y - from.y) * share, radius, level);
  }
}

// Everything of the same level that hangs together with the pixel.
export function fill(values, width, height, x, y, level) {
  const start = y * width + x, old = values[start];
  if (old === level) return;
  const open = [start];
  values[start] = level;
  while (open.length) {
    const at = open.pop(), column = at % width;
    const near = [column > 0 ? at - 1 : -1, column < width - 1 ? at + 1 : -1, at - width, at + width];
    for (const next of near)
      if (next >= 0 && next < values.length && values[next] === old) {
        values[next] = level;
        open.push(next);
      }
  }
}

export function cell(values, width, height, x, y, level) {
  const { rows, cols } = grid(width, height);
  const row = rows.findLastIndex((start) => start <= y), col = cols.findLastIndex((start) => start <= x);
  for (let r = rows[row]; r < rows[row + 1]; r++) values.fill(level, r * width + cols[col], r * width + cols[col + 1]);
}
