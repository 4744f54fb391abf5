// The formulas, in MathML.

const mi = (name) => `<mi>${name}</mi>`;
const sub = (name, index) => `<msub><mi>${name}</mi><mrow>${[...index].map((one) => (one === "," ? "<mo>,</mo>" : `<mi>${one}</mi>`)).join("")}</mrow></msub>`;
const sum = (over) => `<munder><mo>∑</mo><mrow>${mi(over)}</mrow></munder>`;
const math = (...parts) => `<math displaystyle="true">${parts.join("")}</math>`;
const [equals, times, plus, minus] = ["=", "·", "+", "−"].map((sign) => `<mo>${sign}</mo>`);
const frac = (above, below) => `<mfrac><mrow>${above}</mrow><mrow>${below}</mrow></mfrac>`;
const root = `<msqrt>${mi("variance")}${plus}${mi("ε")}</msqrt>`;
const of = (name, inside) => `${mi(name)}<mo>(</mo>${inside}<mo>)</mo>`;
const dash = (name, inside) => `<msup>${mi(name)}<mo>′</mo></msup><mo>(</mo>${inside}<mo>)</mo>`;
const [x, y, dx, dy, w] = [mi("x"), mi("y"), mi("dx"), mi("dy"), mi("w")];
const mean = (name) => `<mover>${mi(name)}<mo>¯</mo></mover>`;

const FORWARD = {
  conv: math(y, equals, sum("window, channels"), x, times, w, plus, mi("bias")),
  transposed: math(y, equals, sum("places that spread over it, channels"), x, times, w, plus, mi("bias")),
  dense: math(y, equals, sum("inputs"), x, times, w, plus, mi("bias")),
  maxpool: math(y, equals, of("max", `${x}<mo>,</mo>${mi("window")}`)),
  avgpool: math(y, equals, frac("<mn>1</mn>", mi("n")), sum("window"), x),
  normalize: math(y, equals, mi("γ"), times, frac(`${x}${minus}${mi("mean")}`, root), plus, mi("β")),
  standardize: math(y, equals, mi("γ"), times, frac(`${x}${minus}${mean("x")}`, root), plus, mi("β")),
  elementwise: math(y, equals, of("f", x)),
  prelu: math(y, equals, of("max", `${x}<mo>,</mo><mn>0</mn>`), plus, mi("α"), times, of("min", `${x}<mo>,</mo><mn>0</mn>`)),
  softmax: math(sub("y", "c"), equals, frac(`<msup>${mi("e")}${sub("x", "c")}</msup>`, `${sum("j")}<msup>${mi("e")}${sub("x", "j")}</msup>`)),
  add: math(y, equals, sum("inputs"), x),
  average: math(y, equals, frac("<mn>1</mn>", mi("n")), sum("inputs"), x),
  multiply: math(y, equals, `<munder><mo>∏</mo>${mi("inputs")}</munder>`, x),
};

const BACKWARD = {
  conv: math(dx, equals, sum("windows over it, channels"), dy, times, w),
  transposed: math(dx, equals, sum("window, channels"), dy, times, w),
  dense: math(dx, equals, sum("units"), dy, times, w),
  maxpool: math(dx, equals, sum("windows it won"), dy),
  avgpool: math(dx, equals, sum("windows over it"), frac(dy, mi("n"))),
  normalize: math(dx, equals, dy, times, frac(mi("γ"), root)),
  standardize: math(sub("dx", "i"), equals, sum("j"), sub("dy", "j"), times, frac(mi("γ"), root), "<mo>(</mo>", sub("δ", "ij"), minus, frac(`<mn>1</mn>${plus}${sub("x̂", "i")}${sub("x̂", "j")}`, mi("n")), "<mo>)</mo>"),
  elementwise: math(dx, equals, dy, times, dash("f", x)),
  softmax: math(sub("dx", "i"), equals, sum("j"), sub("dy", "j"), times, sub("y", "j"), "<mo>(</mo>", sub("δ", "ij"), minus, sub("y", "i"), "<mo>)</mo>"),
  move: math(dx, equals, sum("places it went to"), dy),
  add: math(dx, equals, dy),
};

const LOSS = {
  softmax: [math(mi("loss"), equals, minus, sum("classes"), mi("t"), times, of("log", mi("p")), "<mo>,</mo>", mi("p"), equals, of("softmax", x)), math(dx, equals, mi("p"), minus, mi("t"))],
  sigmoid: [math(mi("loss"), equals, minus, mi("t"), of("log", mi("p")), minus, `<mo>(</mo><mn>1</mn>${minus}${mi("t")}<mo>)</mo>`, of("log", `<mn>1</mn>${minus}${mi("p")}`)), math(dx, equals, mi("p"), minus, mi("t"))],
  squared: [math(mi("loss"), equals, frac("<mn>1</mn>", mi("n")), sum("outputs"), `<msup><mrow><mo>(</mo>${x}${minus}${mi("t")}<mo>)</mo></mrow><mn>2</mn></msup>`), math(dx, equals, frac(`<mn>2</mn><mo>(</mo>${x}${minus}${mi("t")}<mo>)</mo>`, mi("n")))],
};

// MathML of what makes the selected number; "" where there is none.
export function formula(side, step, role, loss) {
  if (loss) return (LOSS[loss.kind] || ["", ""])[side === "forward" ? 0 : 1];
  if (!step) return "";
  if (role) {
    if (side === "forward") return "";
    if (role === "bias" || role === "beta") return math(mi(role === "beta" ? "dβ" : "dbias"), equals, sum("places"), dy);
    if (role === "alpha") return math(mi("dα"), equals, sum("places below 0"), dy, times, x);
    if (role === "gamma") return math(mi("dγ"), equals, sum("places"), dy, times, mi("x̂"));
    return role === "kernel" ? math(mi("dw"), equals, sum(step.op.kind === "dense" ? "rows" : "places"), x, times, dy) : "";
  }
  return (side === "forward" ? FORWARD : BACKWARD)[step.op.kind] || "";
}
