// A tour is a list of addresses with text. They are made for the network at hand, out of its ops.

import { OPS, ref } from "./ops.js";
import { gradientTerms, written } from "./explain.js";

const firstOf = (net, kind) => net.record.steps.find((step) => step.op.kind === kind);

// The place of an array that is largest in size, or by a rule of its own.
const peak = (array, size = Math.abs) => array.reduce((best, number, i) => (size(number) > size(array[best]) ? i : best), 0);

export function tours(net) {
  return [aConvolution(net), aGradientsWayBack(net), whatTrainingChanges(net)].filter((tour) => tour && tour.stops.length);
}

function aConvolution(net) {
  const step = firstOf(net, "conv");
  if (!step) return null;
  const i = peak(net.x(step.output));
  const [best] = OPS.conv.sum(net, step, i).terms.sort((a, b) => Math.abs(b.p) - Math.abs(a.p));
  const { readers } = net.values.get(step.output);
  const stops = [
    [`forward/${written(net, ref("x", step.output, i))}`, "This number is the strongest answer of the first convolution. It is a sum: each number under the window times the kernel's weight at the same place. Move with the arrow keys: the window moves, the kernel stays."],
    [`forward/${written(net, best.of)}`, "The input number of the largest product. Under “goes to” stand all places whose window covers it."],
    [`forward/${written(net, best.by)}`, "The weight of that product. Every place of the map uses this same number: that is what makes it a convolution."],
  ];
  if (readers.length) stops.push([`forward/${written(net, ref("x", readers[0].step.output, 0))}`, `What follows: ${readers[0].step.layer}, number by number.`]);
  return { name: "A convolution", stops };
}

function aGradientsWayBack(net) {
  const [loss] = net.record.losses;
  const stops = [[`forward/${loss.name}/0`, "Everything begins here: one number that says how wrong the network is for this image."]];
  let [id, i] = [loss.value, peak(net.d(loss.value) || net.x(loss.value))];
  stops.push([`backward/${written(net, ref("x", id, i))}`, "The gradient at the output where it is largest: if this score grew by a little, the loss would grow by so many times as much."]);
  const kinds = new Set();
  for (let { by } = net.values.get(id); by && OPS[by.op.kind] !== OPS.unknown; { by } = net.values.get(id)) {
    const terms = OPS[by.op.kind].sum(net, by, i).terms;
    if (!terms.length) break;
    const next = terms.map(({ of }) => of).reduce((best, of) => (Math.abs((net.d(of.id) || [])[of.i] || 0) > Math.abs((net.d(best.id) || [])[best.i] || 0) ? of : best));
    ({ id, i } = next);
    if (!kinds.has(by.op.kind)) {
      kinds.add(by.op.kind);
      stops.push([`backward/${written(net, next)}`, `One step back, before ${by.name} (${by.layer}): ${WAYS[by.op.kind] || "its gradient is the sum over all that it went into."}`]);
    }
  }
  const killed = dead(net);
  if (killed) stops.push([`backward/${written(net, killed)}`, "And here a gradient stops: no term of this sum is other than 0, and the page says why."]);
  return { name: "A gradient's way back", stops };
}

const WAYS = {
  dense: "each unit it feeds sends back its own gradient, times the weight between them.",
  transposed: "it had spread the kernel over the output, and gathers the gradients there, times the kernel's weights.",
  conv: "every place whose window covers it sends back its gradient, times the kernel's weight there.",
  maxpool: "the largest number of the window takes the gradient whole; the others get 0.",
  avgpool: "the gradient is shared out evenly over the window.",
  elementwise: "the gradient is multiplied by the function's slope here; a ReLU's is 1 above 0 and 0 below.",
  move: "numbers that only moved get their gradient back unchanged.",
};

// A number of a map at which the gradient is 0 though the one behind it has gradients.
function dead(net) {
  for (const step of net.record.steps) {
    if (step.op.kind !== "elementwise" || step.op.function !== "relu") continue;
    const dy = net.d(step.output);
    const x = net.x(step.inputs[0]);
    const i = dy ? dy.findIndex((d, at) => d !== 0 && x[at] <= 0) : -1;
    if (i >= 0 && gradientTerms(net, step.inputs[0], i).length) return ref("x", step.inputs[0], i);
  }
  return null;
}

function whatTrainingChanges(net) {
  const known = (id) => OPS[net.stepOf(id).step.op.kind] !== OPS.unknown;
  const id = net.weights.findIndex(({ shape, d }, at) => shape.length > 1 && d && known(at));
  if (id < 0) return null;
  const i = peak(net.dw(id));
  const { step } = net.stepOf(id);
  const [best] = OPS[step.op.kind].weight(net, step, net.stepOf(id).role, i).sort((a, b) => Math.abs(b.p) - Math.abs(a.p));
  const stops = [
    [`backward/${written(net, ref("w", id, i))}`, "The weight with the largest gradient. A kernel's weight is used at every place, so its gradient is a sum over all places: the number under it there, times the gradient that came back there."],
    [`backward/${written(net, best.of)}`, "The place that adds most to it: how much the loss would change if the map changed here."],
    [`forward/${written(net, ref("w", id, i))}`, "The weight itself. A negative gradient says that growing it lowers the loss, so the optimizer lets it grow; below stands what its next step would make of it."],
  ];
  return { name: "What training changes", stops };
}
