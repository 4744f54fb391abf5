// Maps as pictures: blue below zero, orange above, the background at zero.

const STOPS = {
  light: { zero: [250, 250, 250], below: [[146, 181, 222], [30, 90, 168]], above: [[247, 181, 120], [180, 70, 4]] },
  dark: { zero: [24, 26, 31], below: [[45, 96, 163], [140, 196, 255]], above: [[168, 86, 24], [255, 200, 130]] },
};

export function scheme() {
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

// share: from -1 to 1.
export function color(share, stops = STOPS[scheme()]) {
  const [middle, end] = share < 0 ? stops.below : stops.above;
  const size = Math.min(Math.abs(share), 1);
  const [from, to, part] = size < 0.5 ? [stops.zero, middle, 2 * size] : [middle, end, 2 * size - 1];
  return from.map((one, at) => one + (to[at] - one) * part);
}

// The largest size of a number in an array, remembered.
const known = new WeakMap();
export function largestOf(array) {
  if (known.has(array)) return known.get(array);
  let largest = 0;
  for (const number of array) if (Math.abs(number) > largest) largest = Math.abs(number);
  known.set(array, largest || 1);
  return largest || 1;
}

// 511 colours from -1 to 1, each as the four bytes of a pixel.
const tables = {};
function table(mode) {
  tables[mode] ||= new Uint32Array(Uint8ClampedArray.from({ length: 511 * 4 }, (_, i) => (i % 4 === 3 ? 255 : color((i >> 2) / 255 - 1, STOPS[mode])[i % 4])).buffer);
  return tables[mode];
}

// Draw H × W numbers of at most `largest` in size: number(row, column). Of a map with more than `most` rows or columns,
// every second or third one.
export function paint(canvas, [H, W], number, largest, most) {
  const every = Math.max(1, Math.ceil(Math.max(H, W) / most));
  canvas.width = Math.ceil(W / every);
  canvas.height = Math.ceil(H / every);
  const context = canvas.getContext("2d");
  const picture = context.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(picture.data.buffer);
  const colors = table(scheme());
  for (let y = 0, at = 0; y < H; y += every) for (let x = 0; x < W; x += every) pixels[at++] = colors[Math.round((number(y, x) / largest) * 255) + 255];
  context.putImageData(picture, 0, 0);
}

// Draw an image of 1 or 3 channels as a camera saw it, its smallest number black and its largest white.
export function paintPicture(canvas, [H, W, C], number) {
  canvas.width = W;
  canvas.height = H;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(W, H);
  let [low, high] = [Infinity, -Infinity];
  for (let y = 0; y < H; y++) for (let x = 0; x < W; x++) for (let c = 0; c < C; c++) [low, high] = [Math.min(low, number(y, x, c)), Math.max(high, number(y, x, c))];
  for (let y = 0; y < H; y++)
    for (let x = 0; x < W; x++)
      picture.data.set([...[0, 1, 2].map((c) => (255 * (number(y, x, Math.min(c, C - 1)) - low)) / (high - low || 1)), 255], 4 * (y * W + x));
  context.putImageData(picture, 0, 0);
}
