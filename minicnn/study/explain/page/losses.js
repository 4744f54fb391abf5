// The losses: each as a sum over the output's numbers, and its gradient there.

import { ref, shares, summed } from "./ops.js";

const softplusOf = (z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));

// terms(net, loss) of the loss, one a number of the output; slope(net, loss, i), the gradient at number i as terms.
export const LOSSES = {
  softmax: {
    terms(net, { value, target, rows }) {
      const classes = target.length / rows;
      const logs = Array.from({ length: rows }, (_, row) => {
        const { sum, highest } = shares(net, value, row * classes);
        return Math.log(sum) + highest;
      });
      return Array.from(target, (t, i) => {
        const z = net.x(value)[i];
        return { of: ref("x", value, i), by: null, a: z, b: t, p: t ? (t * (logs[Math.floor(i / classes)] - z)) / rows : 0 };
      });
    },
    slope(net, { value, target, rows }, i) {
      const classes = target.length / rows;
      const { first, probabilities } = shares(net, value, i);
      const whole = target.subarray(first, first + classes).reduce((a, b) => a + b, 0);
      return [["probability p", (probabilities[i - first] * whole) / rows], ["target, subtracted", -target[i] / rows]];
    },
    note: "Each row is −target × log p, where p = softmax of the scores: only the right class's counts.",
  },
  sigmoid: {
    terms: (net, { value, target }) =>
      Array.from(target, (t, c) => {
        const z = net.x(value)[c];
        return { of: ref("x", value, c), by: null, a: z, b: t, p: (softplusOf(z) - z * t) / target.length };
      }),
    slope: (net, { value, target }, i) => [["probability p", 1 / (1 + Math.exp(-net.x(value)[i])) / target.length], ["target, subtracted", -target[i] / target.length]],
    note: "Each row is −target × log p − (1 − target) × log(1 − p), where p = sigmoid of the score.",
  },
  squared: {
    terms: (net, { value, target }) =>
      Array.from(target, (t, c) => ({ of: ref("x", value, c), by: null, a: net.x(value)[c], b: t, p: (net.x(value)[c] - t) ** 2 / target.length })),
    slope: (net, { value, target }, i) => [["2 × prediction / count", (2 * net.x(value)[i]) / target.length], ["2 × target / count, subtracted", (-2 * target[i]) / target.length]],
    note: "Each row is (prediction − target)² / count.",
  },
  score: {
    terms: () => [],
    slope: (net, { target }, i) => [["1 for the largest output, about which the gradients ask", target[i]]],
    note: "No loss is known for this output: gradients are those of its largest number.",
  },
};

export function lossSum(net, loss) {
  const known = LOSSES[loss.kind];
  if (!known || loss.kind === "score") return summed([], { value: null, note: known ? known.note : "This page does not know how this loss is computed." });
  return summed(known.terms(net, loss), { note: known.note });
}

export function lossSlope(net, loss, i) {
  const known = LOSSES[loss.kind];
  if (!known) return Object.assign([], { missing: "This page does not know how this loss's gradient is computed." });
  return known.slope(net, loss, i).map(([name, value]) => ({ of: null, name, by: null, a: value, b: loss.factor, p: value * loss.factor }));
}
