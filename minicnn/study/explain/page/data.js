// The record that Python packed, as arrays, and the network that it describes.

import { OPS } from "./ops.js";

// The reverse of `encode.py`: base64, gzip, and the bytes of each number put together again.
async function decode({ type, data }) {
  const text = atob(data);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const raw = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = raw.length / 4;
  const bytes = new Uint8Array(raw.length);
  for (let part = 0; part < 4; part++)
    for (let i = 0; i < count; i++) bytes[4 * i + part] = raw[part * count + i];
  return type === "int32" ? new Int32Array(bytes.buffer) : new Float32Array(bytes.buffer);
}

// Every encoded array in nested lists and objects, decoded in place.
export async function unpack(part) {
  const waiting = [];
  const walk = (holder) => {
    for (const [key, item] of Object.entries(holder)) {
      if (item === null || typeof item !== "object") continue;
      if (typeof item.data === "string") waiting.push(decode(item).then((array) => (holder[key] = array)));
      else walk(item);
    }
  };
  walk(part);
  await Promise.all(waiting);
  return part;
}

// The float32 numbers that lie so many steps from the predicted ones: see `exact.Predicted`.
function corrected(predicted, steps) {
  const bits = new Int32Array(predicted.buffer);
  for (let i = 0; i < bits.length; i++) {
    if (!steps[i]) continue;
    const rank = bits[i] < 0 ? -(bits[i] & 0x7fffffff) : bits[i];
    const wanted = rank + (steps[i] & 1 ? -(steps[i] + 1) / 2 : steps[i] / 2);
    bits[i] = wanted < 0 ? -wanted | 0x80000000 : wanted;
  }
  return predicted;
}

// A number of the network is named by a reference {side, id, i}: side "x" a value, "d" the gradient at a value,
// "w" a weight, "dw" a weight's gradient; id says of which value or weight; i is the place in its array.
export class Network {
  // edit: {ref, value}, a number to be replaced, with all that follows from it; or null.
  constructor(record, edit = null) {
    this.record = record;
    this.edit = edit;
    this.remembered = new Map();
    this.values = new Map(record.values.map((value) => [value.id, { ...value, size: value.shape.reduce((a, b) => a * b, 1), readers: [] }]));
    this.weights = record.weights.map((weight) => ({ ...weight, size: weight.shape.reduce((a, b) => a * b, 1) }));
    for (const input of record.inputs) this.values.get(input.value).name = input.name;
    for (const step of record.steps) {
      Object.assign(this.values.get(step.output), { name: step.name, by: step });
      step.inputs.forEach((id, k) => this.values.get(id).readers.push({ step, k }));
    }
    record.losses.forEach((loss, at) => {
      loss.name = at ? `loss@${at + 1}` : "loss";
      this.values.get(loss.value).loss = loss;
    });
    if (edit) this.#recompute();
  }

  // The numbers of a value, or of a weight; null where the page does not have them.
  array({ side, id }) {
    if (side === "x") return this.x(id);
    if (side === "d") return this.d(id);
    return side === "w" ? this.weights[id].x : this.dw(id);
  }

  at(ref) {
    const array = this.array(ref);
    return array === null ? null : array[ref.i];
  }

  x(id) {
    const value = this.values.get(id);
    if (value.x === "forward") value.x = OPS[value.by.op.kind].run(this, value.by);
    if (value.x.steps) value.x = corrected(OPS[value.by.op.kind].run(this, value.by), value.x.steps);
    return value.x;
  }

  d(id) {
    const value = this.values.get(id);
    if (value.d === "backward") {
      const [{ step, k }] = value.readers;
      value.d = OPS[step.op.kind].spread(this, step, k);
    }
    return value.d;
  }

  dw(id) {
    const weight = this.weights[id];
    if (weight.d === "outer") {
      const { step } = this.stepOf(id);
      const x = this.x(step.inputs[0]);
      const dy = this.d(step.output);
      weight.d = new Float32Array(weight.size);
      for (let i = 0; i < x.length; i++)
        for (let j = 0; j < dy.length; j++) weight.d[i * dy.length + j] = x[i] * dy[j];
    }
    if (weight.d && weight.d.steps) {
      const { step } = this.stepOf(id);
      weight.d = corrected(OPS[step.op.kind].spreadWeight(this, step), weight.d.steps);
    }
    return weight.d;
  }

  // What is computed for a step once, and found again after that.
  once(step, what, compute) {
    const key = `${what} ${step.name}`;
    if (!this.remembered.has(key)) this.remembered.set(key, compute());
    return this.remembered.get(key);
  }

  // Which steps use a weight, and as what; more than one where a layer is called twice.
  stepsOf(id) {
    return this.record.steps.flatMap((step) =>
      Object.entries(step.weights).filter(([, weight]) => weight === id).map(([role]) => ({ step, role })),
    );
  }

  stepOf(id) {
    return this.stepsOf(id)[0];
  }

  // A weight of a step by its role; null where the step has none.
  weight(step, role) {
    const id = step.weights[role];
    return id === undefined ? null : id;
  }

  flat(id, row, column, channel) {
    const [sy, sx, sc] = this.values.get(id).strides;
    return row * sy + column * sx + channel * sc;
  }

  // [row, column, channel] of the place i of a value.
  place(id, i) {
    const { shape: [, W, C], strides: [sy, sx, sc] } = this.values.get(id);
    return sc === 1 ? [Math.floor(i / sy), Math.floor((i % sy) / C), i % C] : [Math.floor((i % sc) / W), i % W, Math.floor(i / sc)];
  }

  // Indices of the place i of a weight.
  indices(id, i) {
    return this.weights[id].shape.reduceRight(([rest, found], size) => [Math.floor(rest / size), [rest % size, ...found]], [i, []])[1];
  }

  #recompute() {
    const { ref, value } = this.edit;
    const changed = new Set();
    const replaced = Float32Array.from(this.array(ref));
    replaced[ref.i] = value;
    if (ref.side === "w") this.weights[ref.id].x = replaced;
    else {
      this.values.get(ref.id).x = replaced;
      changed.add(ref.id);
    }
    for (const step of this.record.steps) {
      const touched = step.inputs.some((id) => changed.has(id)) || (ref.side === "w" && Object.values(step.weights).includes(ref.id));
      if (!touched || (ref.side === "x" && step.output === ref.id)) continue;
      this.values.get(step.output).x = OPS[step.op.kind].run(this, step);
      changed.add(step.output);
    }
    this.changed = changed;
  }
}
