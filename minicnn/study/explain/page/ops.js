// What each kind of op computes, forward and backward, one number at a time: the sums that the page opens.
//
// An entry has
//   sum(net, step, i)            the output number i, as {terms, bias, rest, value, facts, note}; added: false where it is no sum
//   back(net, step, k, i)        the terms of the gradient at number i of input k
//   weight(net, step, role, j)   the terms of the gradient of the weight's number j
//   run(net, step)               all output numbers
//   spread(net, step)            all gradients at the one input, of an op that does not round
//   spreadWeight(net, step)      all gradients of the kernel; as `run` of a convolution, added in the order of `exact.py`
//
// A term is a product a * b: `of` refers to a, `by` to b (null for a plain factor).

import { FUNCTIONS } from "./functions.js";

export const ref = (side, id, i) => ({ side, id, i });

function term(net, of, by) {
  const a = net.at(of);
  const b = typeof by === "number" ? by : net.at(by);
  return { of, by: typeof by === "number" ? null : by, a, b, p: a * b };
}

const total = (terms) => terms.reduce((sum, { p }) => sum + p, 0);
const range = (count) => Array.from({ length: count }, (_, i) => i);
const weightOr = (net, id, i, otherwise) => (id === null ? otherwise : net.weights[id].x[i]);

function summed(terms, extra = {}) {
  if (terms.missing) return { terms, bias: null, rest: null, facts: [], note: terms.missing, value: null };
  const sum = total(terms) + (extra.bias ? extra.bias.value : 0) + (extra.rest ? extra.rest.value : 0);
  return { terms, bias: null, rest: null, facts: [], note: "", value: sum, ...extra };
}

function bias(net, step, i) {
  const id = net.weight(step, "bias");
  return id === null ? null : { ref: ref("w", id, i), value: net.weights[id].x[i] };
}

// All numbers of a step, one sum after another: for ops that are cheap enough.
function runEach(net, step) {
  const { size } = net.values.get(step.output);
  const { sum } = OPS[step.op.kind];
  return Float32Array.from({ length: size }, (_, i) => sum(net, step, i).value);
}

// --- convolution, and the transposed one -------------------------------------------------

// A window slides over the `big` map, one place for each pixel of the `small` one. A convolution's input is the big map; a
// transposed convolution's is the small one, which makes its forward pass the other's backward. Kernels are
// (KH, KW, channels of big in a group, channels of small).
function slides(net, step) {
  const { kind, size: [KH, KW], strides: [SH, SW], dilation: [DH, DW], pads: [top, , left], groups } = step.op;
  const [big, small] = kind === "conv" ? [step.inputs[0], step.output] : [step.output, step.inputs[0]];
  const [H, W, C] = net.values.get(big).shape;
  const [OH, OW, CO] = net.values.get(small).shape;
  return { big, small, KH, KW, SH, SW, DH, DW, top, left, H, W, CG: C / groups, OH, OW, CO, OG: CO / groups, kernel: step.weights.kernel };
}

// In the place of terms, where the kernel is too large to be embedded.
function notEmbedded(net, id) {
  return Object.assign([], { missing: `This kernel has ${net.weights[id].size.toLocaleString("en")} weights and is not embedded.` });
}

// Every number under the window at number i of the small map, times the kernel's weight.
function underWindow(net, step, side, i) {
  const { big, small, KH, KW, SH, SW, DH, DW, top, left, H, W, CG, CO, OG, kernel } = slides(net, step);
  const [oy, ox, co] = net.place(small, i);
  const first = Math.floor(co / OG) * CG;
  if (net.weights[kernel].x === null) return notEmbedded(net, kernel);
  const terms = [];
  for (let ky = 0; ky < KH; ky++)
    for (let kx = 0; kx < KW; kx++) {
      const [y, x] = [oy * SH - top + ky * DH, ox * SW - left + kx * DW];
      if (y < 0 || y >= H || x < 0 || x >= W) continue;
      for (let ci = 0; ci < CG; ci++)
        terms.push(term(net, ref(side, big, net.flat(big, y, x, first + ci)), ref("w", kernel, ((ky * KW + kx) * CG + ci) * CO + co)));
    }
  return terms;
}

// Every place of the small map whose window covers number i of the big one, times the kernel's weight there.
function windowsOn(net, step, side, i) {
  const { big, small, KH, KW, SH, SW, DH, DW, top, left, CG, OH, OW, CO, OG, kernel } = slides(net, step);
  const [y, x, c] = net.place(big, i);
  const first = Math.floor(c / CG) * OG;
  if (net.weights[kernel].x === null) return notEmbedded(net, kernel);
  const terms = [];
  for (let ky = 0; ky < KH; ky++)
    for (let kx = 0; kx < KW; kx++) {
      const [oy, ox] = [(y + top - ky * DH) / SH, (x + left - kx * DW) / SW];
      if (!Number.isInteger(oy) || !Number.isInteger(ox) || oy < 0 || oy >= OH || ox < 0 || ox >= OW) continue;
      for (let co = first; co < first + OG; co++)
        terms.push(term(net, ref(side, small, net.flat(small, oy, ox, co)), ref("w", kernel, ((ky * KW + kx) * CG + (c % CG)) * CO + co)));
    }
  return terms;
}

// At every place: the number of the small map times the one that the kernel's weight j met in the big one.
function meetings(net, step, role, j) {
  if (role === "bias") return everyPlace(net, step.output, j).map((i) => term(net, ref("d", step.output, i), 1));
  const { big, small, KW, SH, SW, DH, DW, top, left, H, W, CG, OH, OW, CO, OG } = slides(net, step);
  const [co, ci, kx, ky] = [j % CO, Math.floor(j / CO) % CG, Math.floor(j / CO / CG) % KW, Math.floor(j / CO / CG / KW)];
  const terms = [];
  for (let oy = 0; oy < OH; oy++)
    for (let ox = 0; ox < OW; ox++) {
      const [y, x] = [oy * SH - top + ky * DH, ox * SW - left + kx * DW];
      if (y < 0 || y >= H || x < 0 || x >= W) continue;
      const ends = [ref("d", small, net.flat(small, oy, ox, co)), ref("d", big, net.flat(big, y, x, Math.floor(co / OG) * CG + ci))];
      const [dy, read] = big === step.output ? [ends[1], ends[0]] : ends;
      terms.push(term(net, dy, { ...read, side: "x" }));
    }
  return terms;
}

const transposed = {
  sum: (net, step, i) => summed(windowsOn(net, step, "x", i), { bias: bias(net, step, net.place(step.output, i)[2]) }),
  back: (net, step, k, i) => underWindow(net, step, "d", i),
  weight: meetings,
  run: runEach,
};

const conv = {
  sum(net, step, i) {
    const { KH, KW, CG } = slides(net, step);
    const terms = underWindow(net, step, "x", i);
    const outside = KH * KW * CG - terms.length;
    const note = outside && !terms.missing ? `${outside} of the window's ${KH * KW * CG} places lie on the padding, and add 0.` : "";
    return summed(terms, { bias: bias(net, step, net.place(step.output, i)[2]), note });
  },
  back: (net, step, k, i) => windowsOn(net, step, "d", i),
  weight: meetings,
  run(net, step) {
    const { groups } = step.op;
    const { CG, OH, OW, CO, OG, kernel } = slides(net, step);
    const [x, weights, added] = [net.x(step.inputs[0]), net.weights[kernel].x, net.weight(step, "bias")];
    const channel = net.values.get(step.inputs[0]).strides[2];
    const [rows, columns, channels] = net.values.get(step.output).strides;
    const y = new Float32Array(OH * OW * CO);
    const sums = new Float64Array(CO);
    for (let oy = 0; oy < OH; oy++)
      for (let ox = 0; ox < OW; ox++) {
        for (let co = 0; co < CO; co++) sums[co] = weightOr(net, added, co, 0);
        for (const [from, tap] of taps(net, step, oy, ox))
          for (let ci = 0; ci < CG; ci++)
            for (let group = 0; group < groups; group++) {
              const a = x[from + (group * CG + ci) * channel];
              const start = (tap * CG + ci) * CO;
              if (a) for (let co = group * OG; co < (group + 1) * OG; co++) sums[co] += a * weights[start + co];
            }
        for (let co = 0; co < CO; co++) y[oy * rows + ox * columns + co * channels] = sums[co];
      }
    return y;
  },
  spreadWeight(net, step) {
    const { groups } = step.op;
    const { KH, KW, CG, OH, OW, CO, OG } = slides(net, step);
    const [x, dy] = [net.x(step.inputs[0]), net.d(step.output)];
    const channel = net.values.get(step.inputs[0]).strides[2];
    const [rows, columns, channels] = net.values.get(step.output).strides;
    const sums = new Float64Array(KH * KW * CG * CO);
    const row = new Float64Array(CO);
    for (let oy = 0; oy < OH; oy++)
      for (let ox = 0; ox < OW; ox++) {
        for (let co = 0; co < CO; co++) row[co] = dy[oy * rows + ox * columns + co * channels];
        for (const [from, tap] of taps(net, step, oy, ox))
          for (let ci = 0; ci < CG; ci++)
            for (let group = 0; group < groups; group++) {
              const a = x[from + (group * CG + ci) * channel];
              const start = (tap * CG + ci) * CO;
              if (a) for (let co = group * OG; co < (group + 1) * OG; co++) sums[start + co] += a * row[co];
            }
      }
    return Float32Array.from(sums);
  },
};

// The window at an output place: [where its pixel's numbers begin in the input, which tap of the kernel], padding left out.
function taps(net, step, oy, ox) {
  const { KH, KW, SH, SW, DH, DW, top, left, H, W } = slides(net, step);
  const found = [];
  for (let ky = 0; ky < KH; ky++)
    for (let kx = 0; kx < KW; kx++) {
      const [y, x] = [oy * SH - top + ky * DH, ox * SW - left + kx * DW];
      if (y >= 0 && y < H && x >= 0 && x < W) found.push([net.flat(step.inputs[0], y, x, 0), ky * KW + kx]);
    }
  return found;
}

// --- dense -------------------------------------------------------------------------------

const dense = {
  sum(net, step, i) {
    const [CI, CO] = net.weights[step.weights.kernel].shape;
    const [row, co] = [Math.floor(i / CO), i % CO];
    const added = bias(net, step, co);
    if (net.weights[step.weights.kernel].x === null && !step.largest) return summed(notEmbedded(net, step.weights.kernel));
    if (net.weights[step.weights.kernel].x === null) {
      const { terms, rest } = largest(net, step.largest.forward, "x", step.inputs[0], co, CI);
      return summed(terms, { bias: added, rest, note: `This kernel has ${(CI * CO).toLocaleString("en")} weights and is not embedded: these are the largest products.` });
    }
    const terms = range(CI).map((ci) => term(net, ref("x", step.inputs[0], row * CI + ci), ref("w", step.weights.kernel, ci * CO + co)));
    return summed(terms, { bias: added });
  },
  back(net, step, k, i) {
    const [CI, CO] = net.weights[step.weights.kernel].shape;
    const [row, ci] = [Math.floor(i / CI), i % CI];
    if (net.weights[step.weights.kernel].x === null) {
      const { backward = null } = step.largest || {};
      const at = backward ? backward.rows.indexOf(ci) : -1;
      if (at < 0) return Object.assign([], { missing: "Of so large a kernel the products are embedded only for the inputs with the largest gradients." });
      const { terms, rest } = largest(net, backward, "d", step.output, at, CO);
      return Object.assign(terms, { rest });
    }
    return range(CO).map((co) => term(net, ref("d", step.output, row * CO + co), ref("w", step.weights.kernel, ci * CO + co)));
  },
  weight(net, step, role, j) {
    const [CI, CO] = net.weights[step.weights.kernel].shape;
    const rows = net.values.get(step.output).size / CO;
    if (role === "bias") return range(rows).map((row) => term(net, ref("d", step.output, row * CO + j), 1));
    const [ci, co] = [Math.floor(j / CO), j % CO];
    return range(rows).map((row) => term(net, ref("d", step.output, row * CO + co), ref("x", step.inputs[0], row * CI + ci)));
  },
  run(net, step) {
    const [CI, CO] = net.weights[step.weights.kernel].shape;
    const [x, kernel, added] = [net.x(step.inputs[0]), net.weights[step.weights.kernel].x, net.weight(step, "bias")];
    const y = new Float32Array(net.values.get(step.output).size);
    const sums = new Float64Array(CO);
    for (let row = 0; row * CO < y.length; row++) {
      for (let co = 0; co < CO; co++) sums[co] = weightOr(net, added, co, 0);
      for (let ci = 0; ci < CI; ci++)
        for (let co = 0; co < CO; co++) sums[co] += x[row * CI + ci] * kernel[ci * CO + co];
      y.set(sums, row * CO);
    }
    return y;
  },
};

// The embedded products of a row of a kernel that is not, and the sum of all others.
function largest(net, table, side, id, row, count) {
  const width = table.index.length / table.rest.length;
  const terms = range(width).map((at) => term(net, ref(side, id, table.index[row * width + at]), table.weight[row * width + at]));
  return { terms, rest: { count: count - width, value: table.rest[row] } };
}

// --- pooling -----------------------------------------------------------------------------

function windowOf(net, step, i) {
  const [oy, ox, c] = net.place(step.output, i);
  const [[top, bottom], [left, right]] = [step.op.rows[oy], step.op.columns[ox]];
  const found = [];
  for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) found.push(net.flat(step.inputs[0], y, x, c));
  return found;
}

function windowsOver(net, step, i) {
  const [y, x, c] = net.place(step.inputs[0], i);
  const covering = (spans, at) => range(spans.length).filter((o) => spans[o][0] <= at && at < spans[o][1]);
  return covering(step.op.rows, y).flatMap((oy) => covering(step.op.columns, x).map((ox) => net.flat(step.output, oy, ox, c)));
}

// Of each output number, which input number is the largest of its window: of equal ones, the first.
function argmax(net, step) {
  return net.once(step, "argmax", () => {
    const x = net.x(step.inputs[0]);
    const [rows, columns] = net.values.get(step.inputs[0]).strides;
    return Int32Array.from({ length: net.values.get(step.output).size }, (_, i) => {
      const [oy, ox, c] = net.place(step.output, i);
      const [[top, bottom], [left, right]] = [step.op.rows[oy], step.op.columns[ox]];
      let best = net.flat(step.inputs[0], top, left, c);
      const corner = best - top * rows - left * columns;
      for (let y = top; y < bottom; y++)
        for (let at = corner + y * rows + left * columns, end = corner + y * rows + right * columns; at < end; at += columns) if (x[at] > x[best]) best = at;
      return best;
    });
  });
}

const maxpool = {
  sum(net, step, i) {
    const best = argmax(net, step)[i];
    const terms = windowOf(net, step, i).map((at) => term(net, ref("x", step.inputs[0], at), at === best ? 1 : 0));
    return summed(terms, { note: "The largest number of the window passes; of equal ones, the first." });
  },
  back(net, step, k, i) {
    return windowsOver(net, step, i).map((j) => term(net, ref("d", step.output, j), argmax(net, step)[j] === i ? 1 : 0));
  },
  run(net, step) {
    const x = net.x(step.inputs[0]);
    return Float32Array.from(argmax(net, step), (at) => x[at]);
  },
  spread(net, step) {
    const dx = new Float32Array(net.values.get(step.inputs[0]).size);
    const largest = argmax(net, step);
    net.d(step.output).forEach((dy, i) => (dx[largest[i]] += dy));
    return dx;
  },
};

const avgpool = {
  sum(net, step, i) {
    const found = windowOf(net, step, i);
    return summed(found.map((at) => term(net, ref("x", step.inputs[0], at), 1 / found.length)));
  },
  back: (net, step, k, i) => windowsOver(net, step, i).map((j) => term(net, ref("d", step.output, j), 1 / windowOf(net, step, j).length)),
  run: runEach,
};

// --- normalization -----------------------------------------------------------------------

function scaleAndShift(net, step, c) {
  const [gamma, beta, mean, variance] = ["gamma", "beta", "moving_mean", "moving_variance"].map((role) => net.weight(step, role));
  const root = Math.sqrt(net.weights[variance].x[c] + step.op.epsilon);
  const scale = weightOr(net, gamma, c, 1) / root;
  const facts = [["gamma", gamma], ["beta", beta], ["mean", mean], ["variance", variance]]
    .filter(([, id]) => id !== null)
    .map(([name, id]) => ({ name, ref: ref("w", id, c), value: net.weights[id].x[c] }));
  return { scale, root, mean: net.weights[mean].x[c], shift: weightOr(net, beta, c, 0) - net.weights[mean].x[c] * scale, facts };
}

function everyPlace(net, id, c) {
  const [H, W] = net.values.get(id).shape;
  return range(H * W).map((at) => net.flat(id, Math.floor(at / W), at % W, c));
}

const normalize = {
  sum(net, step, i) {
    const c = net.place(step.output, i)[2];
    const { scale, shift, facts } = scaleAndShift(net, step, c);
    return summed([term(net, ref("x", step.inputs[0], i), scale)], { facts, bias: { ref: null, value: shift, name: "β − mean · γ/√(variance + ε)" } });
  },
  back: (net, step, k, i) => [term(net, ref("d", step.output, i), scaleAndShift(net, step, net.place(step.output, i)[2]).scale)],
  weight(net, step, role, c) {
    if (role !== "gamma" && role !== "beta") return Object.assign([], { missing: "A running mean is not learnt by gradients." });
    const { root, mean } = scaleAndShift(net, step, c);
    const x = net.x(step.inputs[0]);
    return everyPlace(net, step.output, c).map((i) => term(net, ref("d", step.output, i), role === "beta" ? 1 : (x[i] - mean) / root));
  },
  run: runEach,
};

// The numbers that are normalized together with number i, their mean, and 1 / their deviation.
function together(net, step, i) {
  const [row, column, c] = net.place(step.inputs[0], i);
  const [H, W, C] = net.values.get(step.inputs[0]).shape;
  const width = C / step.op.groups;
  const first = Math.floor(c / width) * width;
  const places = step.op.pixels ? range(H * W).map((at) => [Math.floor(at / W), at % W]) : [[row, column]];
  const found = places.flatMap(([y, x]) => range(width).map((at) => net.flat(step.inputs[0], y, x, first + at)));
  const x = net.x(step.inputs[0]);
  const mean = found.reduce((sum, at) => sum + x[at], 0) / found.length;
  const variance = found.reduce((sum, at) => sum + (x[at] - mean) ** 2, 0) / found.length;
  return { found, mean, variance, inverse: 1 / Math.sqrt(variance + step.op.epsilon) };
}

const standardize = {
  sum(net, step, i) {
    const c = net.place(step.output, i)[2];
    const [gamma, beta] = [net.weight(step, "gamma"), net.weight(step, "beta")];
    const { found, mean, variance, inverse } = together(net, step, i);
    const scale = weightOr(net, gamma, c, 1) * inverse;
    const facts = [
      { name: `mean of ${found.length} numbers`, ref: null, value: mean },
      { name: "their variance", ref: null, value: variance },
      ...[["gamma", gamma], ["beta", beta]].filter(([, id]) => id !== null).map(([name, id]) => ({ name, ref: ref("w", id, c), value: net.weights[id].x[c] })),
    ];
    const shift = { ref: null, value: weightOr(net, beta, c, 0) - mean * scale, name: "β − mean · γ/√(variance + ε)" };
    return summed([term(net, ref("x", step.inputs[0], i), scale)], { facts, bias: shift });
  },
  back(net, step, k, i) {
    const { found, mean, inverse } = together(net, step, i);
    const x = net.x(step.inputs[0]);
    const gamma = net.weight(step, "gamma");
    const hat = (at) => (x[at] - mean) * inverse;
    return found.map((j) => {
      const share = (j === i ? 1 : 0) - (1 + hat(i) * hat(j)) / found.length;
      return term(net, ref("d", step.output, j), weightOr(net, gamma, net.place(step.output, j)[2], 1) * inverse * share);
    });
  },
  weight(net, step, role, c) {
    const x = net.x(step.inputs[0]);
    return everyPlace(net, step.output, c).map((i) => {
      if (role === "beta") return term(net, ref("d", step.output, i), 1);
      const { mean, inverse } = together(net, step, i);
      return term(net, ref("d", step.output, i), (x[i] - mean) * inverse);
    });
  },
  run: runEach,
};

// --- element by element ------------------------------------------------------------------

const elementwise = {
  sum(net, step, i) {
    const [f] = FUNCTIONS[step.op.function];
    const x = net.x(step.inputs[0])[i];
    const y = f(x, ...step.op.numbers);
    const note = step.op.function === "relu" ? "ReLU lets through what is above 0, and makes 0 of the rest." : "";
    return summed([{ of: ref("x", step.inputs[0], i), by: null, a: x, b: null, p: y }], { note });
  },
  back(net, step, k, i) {
    const [, slope] = FUNCTIONS[step.op.function];
    return [term(net, ref("d", step.output, i), slope(net.x(step.inputs[0])[i], ...step.op.numbers))];
  },
  run(net, step) {
    const [f] = FUNCTIONS[step.op.function];
    return net.x(step.inputs[0]).map((x) => f(x, ...step.op.numbers));
  },
  spread(net, step) {
    const [, slope] = FUNCTIONS[step.op.function];
    const x = net.x(step.inputs[0]);
    return net.d(step.output).map((dy, i) => dy * slope(x[i], ...step.op.numbers));
  },
};

// A ReLU whose slope below 0 is learnt: number i of the input meets the alpha at its place, one for all along an axis of 1.
function alphaAt(net, step, i) {
  const shape = [1, 1, ...net.weights[step.weights.alpha].shape].slice(-3);
  return net.place(step.output, i).reduce((at, place, axis) => at * shape[axis] + (shape[axis] === 1 ? 0 : place), 0);
}

const prelu = {
  sum(net, step, i) {
    const slope = net.x(step.inputs[0])[i] > 0 ? 1 : ref("w", step.weights.alpha, alphaAt(net, step, i));
    return summed([term(net, ref("x", step.inputs[0], i), slope)], { note: "What is above 0 passes; the rest is multiplied by a slope that is learnt." });
  },
  back(net, step, k, i) {
    const slope = net.x(step.inputs[0])[i] > 0 ? 1 : ref("w", step.weights.alpha, alphaAt(net, step, i));
    return [term(net, ref("d", step.output, i), slope)];
  },
  weight(net, step, role, j) {
    const places = range(net.values.get(step.output).size).filter((i) => alphaAt(net, step, i) === j && !(net.x(step.inputs[0])[i] > 0));
    return places.map((i) => term(net, ref("d", step.output, i), ref("x", step.inputs[0], i)));
  },
  run: runEach,
};

function shares(net, id, i) {
  const C = net.values.get(id).shape[2];
  const first = Math.floor(i / C) * C;
  const x = net.x(id).subarray(first, first + C);
  const highest = Math.max(...x);
  const exponentials = Array.from(x, (value) => Math.exp(value - highest));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return { first, highest, sum, exponentials, probabilities: exponentials.map((e) => e / sum) };
}

const softmax = {
  sum(net, step, i) {
    const { first, highest, sum, exponentials } = shares(net, step.inputs[0], i);
    const terms = exponentials.map((e, at) => ({ of: ref("x", step.inputs[0], first + at), by: null, a: net.x(step.inputs[0])[first + at], b: null, p: e }));
    return summed(terms, {
      value: exponentials[i - first] / sum,
      added: false,
      facts: [{ name: "largest input, subtracted from each", ref: null, value: highest }, { name: "sum of the exponentials", ref: null, value: sum }],
      note: "Each product here is exp(x − largest); this number's own is divided by their sum.",
    });
  },
  back(net, step, k, i) {
    const { first, probabilities } = shares(net, step.inputs[0], i);
    return probabilities.map((p, at) => term(net, ref("d", step.output, first + at), p * ((first + at === i ? 1 : 0) - probabilities[i - first])));
  },
  run: runEach,
};

// --- several inputs ----------------------------------------------------------------------

// Which number of input k meets output number i: an input of extent 1 along an axis is repeated along it.
function meets(net, step, k, i) {
  const { shape } = net.values.get(step.inputs[k]);
  return net.flat(step.inputs[k], ...net.place(step.output, i).map((at, axis) => (shape[axis] === 1 ? 0 : at)));
}

function metBy(net, step, k, i) {
  const [own, { shape }] = [net.values.get(step.inputs[k]).shape, net.values.get(step.output)];
  const [rows, columns, channels] = net.place(step.inputs[k], i).map((at, axis) => (own[axis] === 1 ? range(shape[axis]) : [at]));
  return rows.flatMap((y) => columns.flatMap((x) => channels.map((c) => net.flat(step.output, y, x, c))));
}

// A merge whose derivative by input k at output number j is factor(net, step, k, j).
function merge(factor, value = null) {
  return {
    sum(net, step, i) {
      const terms = step.inputs.map((id, k) => term(net, ref("x", id, meets(net, step, k, i)), value ? 1 : factor(net, step, k, i)));
      return summed(terms, value ? { added: false, value: value(terms.map(({ a }) => a)), note: "The factors are multiplied, not added." } : {});
    },
    back: (net, step, k, i) => metBy(net, step, k, i).map((j) => term(net, ref("d", step.output, j), factor(net, step, k, j))),
    run: runEach,
  };
}

function chosen(better) {
  return merge((net, step, k, j) => {
    const met = step.inputs.map((id, at) => net.x(id)[meets(net, step, at, j)]);
    return met.reduce((best, value, at) => (better(value, met[best]) ? at : best), 0) === k ? 1 : 0;
  });
}

const others = (net, step, k, j) =>
  step.inputs.reduce((product, id, at) => (at === k ? product : product * net.x(id)[meets(net, step, at, j)]), 1);

// --- numbers that only move --------------------------------------------------------------

function cameFrom(net, step, i) {
  let at = step.op.index === null ? i : step.op.index[i];
  if (at < 0) return null;
  let k = 0;
  while (at >= net.values.get(step.inputs[k]).size) at -= net.values.get(step.inputs[k++]).size;
  return ref("x", step.inputs[k], at);
}

// For each number of all inputs, one input after another, where it went.
function wentTo(net, step) {
  if (!step.op.went) {
    step.op.went = new Map();
    step.op.index.forEach((at, i) => step.op.went.set(at, [...(step.op.went.get(at) || []), i]));
  }
  return step.op.went;
}

const move = {
  sum(net, step, i) {
    const from = cameFrom(net, step, i);
    return from === null ? summed([], { note: "A zero of the padding: it stands in no input." }) : summed([term(net, from, 1)]);
  },
  back(net, step, k, i) {
    const before = step.inputs.slice(0, k).reduce((sum, id) => sum + net.values.get(id).size, 0);
    const to = step.op.index === null ? [i] : wentTo(net, step).get(before + i) || [];
    return to.map((j) => term(net, ref("d", step.output, j), 1));
  },
  run(net, step) {
    if (step.op.index === null) return net.x(step.inputs[0]);
    return Float32Array.from({ length: net.values.get(step.output).size }, (_, i) => {
      const from = cameFrom(net, step, i);
      return from === null ? 0 : net.at(from);
    });
  },
  spread: (net, step) => net.d(step.output),
};

const unknown = {
  sum(net, step, i) {
    const terms = step.inputs
      .filter((id) => net.values.get(id).size === net.values.get(step.output).size)
      .map((id) => ({ of: ref("x", id, i), by: null, a: net.x(id)[i], b: null, p: 0 }));
    return summed(terms, { value: null, note: "This page does not know what this layer computes: it shows the engine's number, and what stands at the same place before it." });
  },
  back: () => Object.assign([], { missing: "This page does not know how this layer's gradient is computed." }),
  weight: () => Object.assign([], { missing: "This page does not know how this layer's gradient is computed." }),
  run() {
    throw new Error("A layer that this page does not know cannot be computed again here.");
  },
};

export const OPS = {
  conv, transposed, dense, maxpool, avgpool, normalize, standardize, elementwise, prelu, softmax, move, unknown,
  add: merge(() => 1),
  average: merge((net, step) => 1 / step.inputs.length),
  subtract: merge((net, step, k) => (k ? -1 : 1)),
  multiply: merge(others, (values) => values.reduce((a, b) => a * b, 1)),
  maximum: chosen((a, b) => a > b),
  minimum: chosen((a, b) => a < b),
};

export { shares, summed, term };
