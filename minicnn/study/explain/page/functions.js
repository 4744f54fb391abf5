// Functions of one number, and their derivatives: [f, f'], each of (x, ...numbers).

const sigmoid = (x) => 1 / (1 + Math.exp(-x));
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const step = (x) => (x > 0 ? 1 : 0);
const SELU = [1.6732632423543772, 1.0507009873554805];
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const within = (x, low, high) => (x > low && x < high ? 1 : 0);

// The error function, by its series near 0 and its continued fraction beyond: right to about 1e-15.
function erf(x) {
  const size = Math.abs(x);
  if (size < 2.5) {
    let term = size;
    let sum = size;
    for (let n = 1; n < 80; n++) {
      term *= (-size * size) / n;
      sum += term / (2 * n + 1);
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n--) fraction = (n / 2) / (size + fraction);
  return Math.sign(x) * (1 - Math.exp(-size * size) / Math.sqrt(Math.PI) / (size + fraction));
}

const normal = (x) => 0.5 * (1 + erf(x / Math.SQRT2));
const mish = (x) => x * Math.tanh(softplus(x));

export const FUNCTIONS = {
  linear: [(x) => x, () => 1],
  relu: [(x) => Math.max(x, 0), step],
  relu6: [(x) => clamp(x, 0, 6), (x) => within(x, 0, 6)],
  bounded_relu: [
    (x, slope, largest, threshold) => (x > threshold ? Math.min(x, largest ?? Infinity) : slope * (x - threshold)),
    (x, slope, largest, threshold) => (x > threshold ? (x >= (largest ?? Infinity) ? 0 : 1) : slope),
  ],
  leaky_relu: [(x, slope = 0.2) => (x > 0 ? x : slope * x), (x, slope = 0.2) => (x > 0 ? 1 : slope)],
  elu: [(x, alpha = 1) => (x > 0 ? x : alpha * Math.expm1(x)), (x, alpha = 1) => (x > 0 ? 1 : alpha * Math.exp(x))],
  selu: [(x) => SELU[1] * (x > 0 ? x : SELU[0] * Math.expm1(x)), (x) => SELU[1] * (x > 0 ? 1 : SELU[0] * Math.exp(x))],
  sigmoid: [sigmoid, (x) => sigmoid(x) * sigmoid(-x)],
  tanh: [Math.tanh, (x) => 1 - Math.tanh(x) ** 2],
  softplus: [softplus, sigmoid],
  softsign: [(x) => x / (1 + Math.abs(x)), (x) => 1 / (1 + Math.abs(x)) ** 2],
  silu: [(x) => x * sigmoid(x), (x) => sigmoid(x) * (1 + x * sigmoid(-x))],
  exponential: [Math.exp, Math.exp],
  hard_sigmoid: [(x) => clamp(x / 6 + 0.5, 0, 1), (x) => within(x, -3, 3) / 6],
  hard_silu: [(x) => x * clamp(x / 6 + 0.5, 0, 1), (x) => (x >= 3 ? 1 : x <= -3 ? 0 : x / 3 + 0.5)],
  gelu: [(x) => x * normal(x), (x) => normal(x) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI)],
  mish: [mish, (x) => Math.tanh(softplus(x)) + x * sigmoid(x) * (1 - Math.tanh(softplus(x)) ** 2)],
  log_sigmoid: [(x) => -softplus(-x), (x) => sigmoid(-x)],
  rescale: [(x, scale, offset) => x * scale + offset, (x, scale) => scale],
};
