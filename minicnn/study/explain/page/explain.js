// What there is to say of one selected number: the sum behind it, whom it came from, whom it reaches.

import { LOSSES, lossSlope, lossSum } from "./losses.js";
import { OPS, ref, summed } from "./ops.js";

// The selection is the page's state, written in the address: #SIDE/NAME/PLACE, and ?NAME/PLACE=NUMBER for a changed number.
export function parse(hash, net) {
  const [, side = "forward", name = "", place = "", edited] =
    /^#?(forward|backward)\/([^?]*)\/([\d,]+)(?:\?(.*))?$/.exec(decodeURIComponent(hash)) || [];
  const selection = { side, ...(find(net, name, place) || middle(net)) };
  const [, what, value] = /^(.*)=([-+.\deE]+)$/.exec(edited || "") || [];
  const cut = (what || "").lastIndexOf("/");
  const target = what && find(net, what.slice(0, cut), what.slice(cut + 1));
  selection.edit = selection.side === "forward" && target && target.ref && Number.isFinite(Number(value)) ? { ref: target.ref, value: Number(value) } : null;
  return selection;
}

export function address(net, { side, ref: at, loss, edit }) {
  const hash = loss ? `#${side}/${loss.name}/0` : `#${side}/${written(net, at)}`;
  return edit ? `${hash}?${written(net, edit.ref)}=${edit.value}` : hash;
}

// NAME/PLACE of a number, its gradient or no.
export function written(net, { side, id, i }) {
  const weight = side === "w" || side === "dw";
  if (weight) return `${net.weights[id].name}/${net.indices(id, i).join(",")}`;
  const { name, shape: [H, W] } = net.values.get(id);
  const place = net.place(id, i);
  return `${name}/${H * W === 1 ? place[2] : place.join(",")}`;
}

function find(net, name, place) {
  const at = place.split(",").map(Number);
  const loss = net.record.losses.find((one) => one.name === name);
  if (loss) return { loss };
  const weight = net.weights.findIndex((one) => one.name === name);
  if (weight >= 0) {
    const { shape } = net.weights[weight];
    const i = at.reduce((sum, index, axis) => sum * shape[axis] + index, 0);
    return at.length === shape.length && at.every((index, axis) => index < shape[axis]) ? { ref: ref("w", weight, i) } : null;
  }
  const value = [...net.values.values()].find((one) => one.name === name);
  if (value && at.length === 1) at.unshift(0, 0); // of a vector
  if (!value || at.length !== 3 || at.some((index, axis) => index >= value.shape[axis])) return null;
  return { ref: ref("x", value.id, net.flat(value.id, ...at)) };
}

// The middle of the first step; of the input, where there is none.
function middle(net) {
  const id = net.record.steps.length ? net.record.steps[0].output : net.record.inputs[0].value;
  const [H, W] = net.values.get(id).shape;
  return { ref: ref("x", id, net.flat(id, H >> 1, W >> 1, 0)) };
}

// The terms of the gradient at a value's number: of every reader, and of the loss where it is an output.
export function gradientTerms(net, id, i) {
  const value = net.values.get(id);
  const parts = value.readers.map(({ step, k }) => OPS[step.op.kind].back(net, step, k, i));
  if (value.loss) parts.push(lossSlope(net, value.loss, i));
  const terms = parts.flat();
  terms.missing = parts.map((part) => part.missing).find(Boolean);
  terms.rest = parts.map((part) => part.rest).find(Boolean);
  return terms;
}

// {terms, bias, rest, facts, note, value, engine}: value is the page's own sum, or null where it has none.
// "fits" says whether the engine's number is the same but for rounding, of which larger terms have more.
export function opened(net, selection) {
  const found = sumBehind(net, selection);
  const { terms, bias, value, engine } = found;
  if (value === null || engine === null) return { ...found, difference: null };
  const size = terms.reduce((sum, { p }) => sum + Math.abs(p), Math.abs(bias ? bias.value : 0));
  const difference = value - engine;
  return { ...found, difference, fits: Math.abs(difference) <= 1e-5 * (selection.loss ? Math.max(size, 1) : size) };
}

function sumBehind(net, { side, ref: at, loss }) {
  if (loss && side === "backward") return { ...summed([]), value: null, engine: null, note: "The loss's gradient with respect to itself is 1: here all gradients begin." };
  if (loss) return { ...lossSum(net, loss), engine: loss.result };
  const { id, i } = at;
  if (at.side === "w") {
    const engine = side === "forward" ? net.at(at) : net.at(ref("dw", id, i));
    if (side === "forward") return { ...summed([]), value: null, engine, note: "A weight: learnt, and the same for every image." };
    return sumOf(net.stepsOf(id).map(({ step, role }) => (OPS[step.op.kind].weight || OPS.unknown.weight)(net, step, role, i)), engine);
  }
  if (side === "backward") {
    const gradients = net.d(id);
    return sumOf([gradientTerms(net, id, i)], gradients === null ? null : gradients[i]);
  }
  const { by } = net.values.get(id);
  const engine = net.x(id)[i];
  if (!by) return { ...summed([]), value: null, engine, note: "An input: a number of the image." };
  return { ...OPS[by.op.kind].sum(net, by, i), engine };
}

function sumOf(parts, engine) {
  const missing = parts.map((part) => part.missing).find(Boolean);
  const rest = parts.map((part) => part.rest).find(Boolean) || null;
  return { ...summed(parts.flat(), { rest, note: missing || "" }), ...(missing ? { value: null } : {}), engine };
}

// Forward: where this number goes, and what it adds there. Backward: whom this number's gradient reaches.
export function reaches(net, { side, ref: at, loss }) {
  if (loss) return [];
  const { id, i } = at;
  if (at.side === "w") return [];
  if (side === "forward") {
    const a = net.x(id)[i];
    return gradientTerms(net, id, i).filter(({ of }) => of).map(({ of, b }) => ({ to: ref("x", of.id, of.i), p: a * b }));
  }
  const { by } = net.values.get(id);
  const d = net.d(id);
  if (!by || d === null || by.op.kind === "unknown") return [];
  const found = [];
  for (const { of, by: weight, a, b } of OPS[by.op.kind].sum(net, by, i).terms) {
    found.push({ to: ref("d", of.id, of.i), p: d[i] * (LINEAR.has(by.op.kind) ? b : slope(net, by, of, i)) });
    if (weight) found.push({ to: ref("dw", weight.id, weight.i), p: d[i] * a });
  }
  return found;
}

// Ops whose output changes by a term's second factor when its first one changes by 1.
const LINEAR = new Set(["conv", "transposed", "dense", "maxpool", "avgpool", "normalize", "move", "add", "average", "subtract", "maximum", "minimum"]);

function slope(net, step, of, i) {
  const own = OPS[step.op.kind].back(net, step, step.inputs.indexOf(of.id), of.i).find((one) => one.of.i === i);
  return own ? own.b : 0;
}

const strongest = (terms) => terms.reduce((best, one) => (best && Math.abs(best.p) >= Math.abs(one.p) ? best : one), null);

// From the pixel that adds most to this number, through it, to the loss, along the largest terms: [{ref, p}], and why it stops.
export function path(net, { ref: at }) {
  const before = [];
  let [id, i] = [at.id, at.i];
  for (;;) {
    const { by } = net.values.get(id);
    if (!by || by.op.kind === "unknown") break;
    const best = strongest(OPS[by.op.kind].sum(net, by, i).terms);
    if (!best) break;
    before.unshift({ ref: best.of, p: best.p });
    ({ id, i } = best.of);
  }
  const after = [];
  [id, i] = [at.id, at.i];
  let stops = "";
  while (net.values.get(id).readers.length) {
    const terms = gradientTerms(net, id, i);
    const best = strongest(terms.filter(({ of }) => of));
    if (terms.missing) return { before, after, stops: "", loss: null };
    if (!best || best.b === 0) {
      stops = stopped(net, id, i);
      break;
    }
    after.push({ ref: best.of, p: best.p });
    ({ id, i } = best.of);
  }
  return { before, after, stops, loss: stops ? null : net.values.get(id).loss };
}

// Why no gradient comes back to this number.
export function stopped(net, id, i) {
  const reasons = net.values.get(id).readers.map(({ step }) => {
    const x = net.x(id)[i];
    if (step.op.kind === "elementwise") return `${step.name}: at the input ${short(x)} the slope of ${step.op.function} is 0`;
    if (step.op.kind === "maxpool") return `${step.name}: another number of its window is larger, and takes the gradient`;
    if (step.op.kind === "move") return `${step.name} does not hand this number on`;
    return `${step.name}: every product of the sum is 0`;
  });
  return reasons.join("; ") || "nothing reads it";
}

// Which places of each input the number hangs on: {id: mask over its numbers}.
export function receptiveField(net, { id, i }) {
  const masks = new Map([[id, mark(net, id, [i])]]);
  for (const step of [...net.record.steps].reverse()) {
    const mask = masks.get(step.output);
    if (!mask) continue;
    step.inputs.forEach((input, k) => {
      if (!masks.has(input)) masks.set(input, new Uint8Array(net.values.get(input).size));
      seen(net, step, k, mask, masks.get(input));
    });
  }
  return masks;
}

function mark(net, id, places) {
  const mask = new Uint8Array(net.values.get(id).size);
  for (const i of places) mask[i] = 1;
  return mask;
}

const ONE_PLACE = new Set(["elementwise", "prelu", "normalize", "add", "average", "subtract", "multiply", "maximum", "minimum", "maxpool", "avgpool", "move", "transposed"]);

function seen(net, step, k, mask, found) {
  const { kind } = step.op;
  if (ONE_PLACE.has(kind)) {
    for (let i = 0; i < mask.length; i++)
      if (mask[i]) for (const { of } of OPS[kind].sum(net, step, i).terms) if (of.id === step.inputs[k]) found[of.i] = 1;
    return;
  }
  if (kind !== "conv") {
    found.fill(1);
    return;
  }
  const [H, W, C] = net.values.get(step.inputs[0]).shape;
  const { size, strides, dilation, pads } = step.op;
  const places = new Set();
  for (let i = 0; i < mask.length; i++)
    if (mask[i]) {
      const [oy, ox] = net.place(step.output, i);
      places.add(oy * 65536 + ox);
    }
  for (const place of places)
    for (let ky = 0; ky < size[0]; ky++)
      for (let kx = 0; kx < size[1]; kx++) {
        const y = (place >> 16) * strides[0] - pads[0] + ky * dilation[0];
        const x = (place & 65535) * strides[1] - pads[2] + kx * dilation[1];
        if (y >= 0 && y < H && x >= 0 && x < W) for (let c = 0; c < C; c++) found[net.flat(step.inputs[0], y, x, c)] = 1;
      }
}

// The smallest rectangle of pixels around places of one value: {top, left, bottom, right}, the last two not included.
export function around(net, id, places) {
  const box = { top: Infinity, left: Infinity, bottom: 0, right: 0 };
  for (const i of places) {
    const [y, x] = net.place(id, i);
    Object.assign(box, { top: Math.min(box.top, y), left: Math.min(box.left, x), bottom: Math.max(box.bottom, y + 1), right: Math.max(box.right, x + 1) });
  }
  return box.bottom ? box : null;
}

export function short(number, digits = 4) {
  if (number === null || number === undefined) return "—";
  if (number === 0) return "0";
  const size = Math.abs(number);
  const text = size >= 1e-3 && size < 1e5 ? String(Number(number.toPrecision(digits))) : number.toExponential(digits - 2);
  return text.replace("e+", "e").replaceAll("-", "−");
}

export function long(number) {
  return number === null || number === undefined ? "—" : String(Number(number.toPrecision(8))).replaceAll("-", "−");
}

export { LOSSES };
