// What is on the page. Every component is given the network and the selection, and holds nothing of its own but what is unfolded.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { largestOf, paint, paintPicture, scheme } from "./draw.js";
import { address, around, gradientTerms, long, opened, path, reaches, receptiveField, short, written } from "./explain.js";
import { formula } from "./formulas.js";
import { ref } from "./ops.js";
import { tours } from "./tours.js";

const gradientOf = (at) => ref({ x: "d", w: "dw" }[at.side] || at.side, at.id, at.i);
const plain = (at) => ref({ d: "x", dw: "w" }[at.side] || at.side, at.id, at.i);
const sideOf = (at) => (at.side === "d" || at.side === "dw" ? "backward" : "forward");
const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;

// A link to a number: a value, or a gradient.
function To({ net, selection, at, hover, children }) {
  if (!at) return html`<span>${children}</span>`;
  const href = address(net, { side: sideOf(at), ref: plain(at), edit: selection.edit });
  const listeners = hover ? { onMouseEnter: () => hover(plain(at)), onMouseLeave: () => hover(null), onFocus: () => hover(plain(at)), onBlur: () => hover(null) } : {};
  return html`<a href=${href} ...${listeners}>${children || written(net, at).replaceAll("/", "/\u200b")}</a>`;
}

const layerOf = (step) => step.name.replace(/[:@].*/, "");

// --- the rail ----------------------------------------------------------------------------

export function Rail({ net, selection }) {
  const { record } = net;
  const here = selection.loss ? selection.loss.name : selection.ref.side === "w" ? net.stepOf(selection.ref.id).step.name : net.values.get(selection.ref.id).name;
  const centre = (id) => {
    const { shape: [H, W] } = net.values.get(id);
    return ref("x", id, net.flat(id, H >> 1, W >> 1, 0));
  };
  const entry = (name, what, shape, href, more) => html`
    <li><a href=${href} aria-current=${name === here ? "true" : null}><b>${name}</b><span>${what}</span><span>${shape}</span></a>${more}</li>`;
  const link = (id) => address(net, { side: selection.side, ref: centre(id), edit: selection.edit });
  const belongs = (step, run) => run.layers.includes(layerOf(step));
  const groups = [];
  for (const step of record.steps) {
    const run = record.runs.find((one) => belongs(step, one));
    const last = groups[groups.length - 1];
    if (last && last.run === run) last.steps.push(step);
    else groups.push({ run, steps: [step] });
  }
  return html`<nav class="rail" aria-label="Network">
    <ol>${record.inputs.map(({ name, value }) => html`<li class="run"><ol>${entry(name, "input", sizeOf(net, value), link(value))}</ol></li>`)}
    ${groups.map(({ run, steps }) => html`<li class="run">
      ${run && (run.kernel || run.fused) && html`<p>${[run.fused && "one pass in training", run.kernel, run.flops ? `${compact(run.flops)} FLOPs` : ""].filter(Boolean).join(" · ")}</p>`}
      <ol>${steps.map((step) => entry(step.name, step.layer, sizeOf(net, step.output), link(step.output), html`<${Weights} net=${net} selection=${selection} step=${step} />`))}</ol></li>`)}
    ${record.losses.map((loss) => html`<li class="run"><ol>${entry(loss.name, loss.loss, loss.result === null ? "" : short(loss.result), address(net, { side: "forward", loss, edit: selection.edit }))}</ol></li>`)}</ol>
  </nav>`;
}

const sizeOf = (net, id) => net.values.get(id).shape.filter((size, axis, all) => axis === 2 || all[0] * all[1] > 1).join("×");
const compact = (number) => new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(number);

function Weights({ net, selection, step }) {
  const roles = Object.entries(step.weights).filter(([, id]) => net.weights[id].x !== null);
  const all = Object.values(step.weights);
  if (!all.length || step.name.includes(":")) return null;
  return html`<span class="weights">${roles.map(([role, id]) => html`<${To} net=${net} selection=${selection} at=${ref(selection.side === "backward" && net.weights[id].d !== null ? "dw" : "w", id, 0)}>${role} ${net.weights[id].shape.join("×")}<//> `)}
    ${roles.length < all.length ? html`<small>kernel not embedded (${compact(step.params)} weights)</small>` : ""}</span>`;
}

// --- maps --------------------------------------------------------------------------------

// A vector is drawn as rows of cells.
function layout({ shape: [H, W, C] }) {
  if (H * W > 1) return { rows: H, columns: W, vector: false };
  const columns = C <= 16 ? C : Math.ceil(Math.sqrt(C * 2));
  return { rows: Math.ceil(C / columns), columns, vector: true };
}

// One map of a value. marks: boxes, [{top, left, bottom, right, kind}]; pick(row, column, channel) on a click.
function OneMap({ net, side, id, channel, marks = [], pick = null, label, picture = false, small = false }) {
  const canvas = useRef();
  const value = net.values.get(id);
  const { rows, columns, vector } = layout(value);
  const array = side === "backward" ? net.d(id) : net.x(id);
  const mode = scheme();
  useLayoutEffect(() => {
    if (!array) return;
    const number = (y, x, c = channel) => (vector ? array[y * columns + x] || 0 : array[net.flat(id, y, x, c)]);
    if (picture) paintPicture(canvas.current, [rows, columns, value.shape[2]], number);
    else paint(canvas.current, [rows, columns], number, largestOf(array), small ? 48 : 512);
  }, [array, channel, mode, picture]);
  if (!array) return html`<p>No gradient reaches ${value.name}.</p>`;
  const click = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const [y, x] = [Math.floor(((event.clientY - box.top) / box.height) * rows), Math.floor(((event.clientX - box.left) / box.width) * columns)];
    if (vector ? y * columns + x < value.shape[2] : true) pick(...(vector ? [0, 0, y * columns + x] : [y, x, channel]));
  };
  const boxes = marks.map(({ top, left, bottom, right, kind }) => html`<rect class=${kind} x=${left} y=${top} width=${right - left} height=${bottom - top} />`);
  return html`<div class=${`map ${pick ? "pick" : ""}`} style=${`aspect-ratio:${columns}/${rows}`} onClick=${pick && click}>
    <canvas ref=${canvas} role="img" aria-label=${label}></canvas>
    <svg viewBox=${`0 0 ${columns} ${rows}`} preserveAspectRatio="none" aria-hidden="true">${boxes}</svg></div>`;
}

function cell(net, at, kind) {
  const value = net.values.get(at.id);
  const [y, x, c] = net.place(at.id, at.i);
  const { columns, vector } = layout(value);
  const [row, column] = vector ? [Math.floor(c / columns), c % columns] : [y, x];
  return { top: row, left: column, bottom: row + 1, right: column + 1, kind };
}

const MOST_MAPS = 64;

function describeMap(net, side, id, channel) {
  const { name, shape: [H, W, C] } = net.values.get(id);
  const what = side === "backward" ? "gradients" : "values";
  return H * W > 1 ? `${what} of ${name}, map ${channel}, ${H} rows, ${W} columns` : `${what} of ${name}, ${C} numbers`;
}

// The maps of the selected value, the selected one large.
export function Maps({ net, selection, go, hover }) {
  const [all, setAll] = useState(false);
  const { side, ref: at } = selection;
  const value = net.values.get(at.id);
  const [row, column, channel] = net.place(at.id, at.i);
  const { vector } = layout(value);
  const [H, W, C] = value.shape;
  const pick = (y, x, c) => go({ ...selection, ref: ref("x", at.id, net.flat(at.id, y, x, c)) });
  const marks = [cell(net, at, "selected"), ...(hover && hover.side === "x" && hover.id === at.id ? [cell(net, hover, "hovered")] : [])];
  const shown = vector ? 0 : all ? C : Math.min(C, MOST_MAPS);
  const array = side === "backward" ? net.d(at.id) : net.x(at.id);
  const isPicture = side === "forward" && !value.by && (C === 1 || C === 3) && !vector;
  return html`<section class="maps" aria-label="Maps">
    <h2>${value.name} <small>${side === "backward" ? "gradients" : "values"}${vector ? "" : `, map ${channel} of ${C}`}</small></h2>
    <${OneMap} net=${net} side=${side} id=${at.id} channel=${channel} marks=${marks} pick=${pick} label=${describeMap(net, side, at.id, channel)} />
    ${array && html`<p class="scale"><span>−${short(largestOf(array))}</span><i></i><span>${short(largestOf(array))}</span></p>`}
    ${isPicture && html`<figure class="picture"><${OneMap} net=${net} side=${side} id=${at.id} channel=${0} picture=${true} label=${`${value.name} as a picture, ${H} rows, ${W} columns`} /><figcaption>as a picture</figcaption></figure>`}
    ${shown > 1 && html`<div class="thumbs">${Array.from({ length: shown }, (_, c) => html`
      <a href=${address(net, { ...selection, ref: ref("x", at.id, net.flat(at.id, row, column, c)) })} aria-label=${`map ${c}`} aria-current=${c === channel ? "true" : null} key=${c}>
        <${OneMap} net=${net} side=${side} id=${at.id} channel=${c} small=${true} label=${describeMap(net, side, at.id, c)} /></a>`)}</div>`}
    ${shown && shown < C ? html`<button onClick=${() => setAll(true)}>all ${C} maps</button>` : ""}
  </section>`;
}

// Where the terms of the sum stand: in the maps before (forward), behind (backward), or both (a weight's gradient).
export function Operands({ net, selection, found, hover }) {
  const byValue = new Map();
  for (const { of, by, p } of found.terms)
    for (const operand of [of, by])
      if (operand && (operand.side === "x" || operand.side === "d")) {
        const key = `${operand.side}${operand.id}`;
        if (!byValue.has(key)) byValue.set(key, { side: operand.side, id: operand.id, terms: [] });
        byValue.get(key).terms.push({ at: operand, p });
      }
  return html`${[...byValue.values()].map(({ side, id, terms }) => {
    const best = terms.reduce((a, b) => (Math.abs(b.p) > Math.abs(a.p) ? b : a)).at;
    const seen = hover && hover.side === "x" && hover.id === id ? hover : null;
    const channel = net.place(id, (seen || best).i)[2];
    const { vector } = layout(net.values.get(id));
    const window = vector ? null : around(net, id, terms.map(({ at }) => at.i));
    const marks = [...(window ? [{ ...window, kind: "window" }] : []), cell(net, seen || best, seen ? "hovered" : "best")];
    const as = side === "d" ? "backward" : "forward";
    return html`<figure class="operand"><${OneMap} net=${net} side=${as} id=${id} channel=${channel} marks=${marks} label=${`${describeMap(net, as, id, channel)}; ${count(terms.length, "term")} of the sum stand here`} />
      <figcaption>${net.values.get(id).name}, ${as === "backward" ? "gradients" : "values"}${vector ? "" : `, map ${channel}`}</figcaption></figure>`;
  })}`;
}

// --- the sum -----------------------------------------------------------------------------

const FIRST_TERMS = 10;
const MOST_TERMS = 500;

export function Sum({ net, selection, found, setHover }) {
  const [shown, setShown] = useState(FIRST_TERMS);
  useEffect(() => setShown(FIRST_TERMS), [selection.ref, selection.loss]);
  const sorted = useMemo(() => [...found.terms].sort((a, b) => Math.abs(b.p) - Math.abs(a.p)), [found]);
  const most = Math.max(...sorted.slice(0, 1).map(({ p }) => Math.abs(p)), 1e-30);
  const terms = sorted.slice(0, shown);
  const to = (at, text) => html`<${To} net=${net} selection=${selection} at=${at} hover=${setHover}>${text}<//>`;
  return html`<section class="sum" aria-label="The sum">
    ${found.facts.length > 0 && html`<dl class="facts">${found.facts.map(({ name, ref: at, value }) => html`<div><dt>${at ? to(at, name) : name}</dt><dd>${short(value)}</dd></div>`)}</dl>`}
    ${terms.length > 0 && html`<table><thead><tr><th>from</th><th>number</th><th>×</th><th>=</th><th aria-hidden="true"></th></tr></thead><tbody>
      ${terms.map(({ of, name, by, a, b, p }) => html`<tr onMouseEnter=${() => of && setHover(plain(of))} onMouseLeave=${() => setHover(null)}>
        <td>${of ? to(of) : name}</td><td>${short(a)}</td><td>${by ? to(by, short(b)) : b === null ? "" : short(b)}</td><td>${short(p)}</td>
        <td aria-hidden="true"><i class=${p < 0 ? "bar below" : "bar"} style=${`width:${(100 * Math.abs(p)) / most}%`}></i></td></tr>`)}
    </tbody></table>`}
    ${shown < Math.min(sorted.length, MOST_TERMS) && html`<button onClick=${() => setShown(MOST_TERMS)}>${sorted.length <= MOST_TERMS ? `all ${sorted.length} terms` : `the largest ${MOST_TERMS} of ${sorted.length.toLocaleString("en")} terms`}</button>`}
    ${found.note && html`<p class="note">${found.note}</p>`}
    <${Check} net=${net} selection=${selection} found=${found} />
  </section>`;
}

// The page's own sum beside the engine's number.
function Check({ net, selection, found }) {
  const { terms, bias, rest, value, engine, difference, fits } = found;
  const rows = [];
  if (terms.length > 1 && found.added !== false) rows.push([`sum of ${count(terms.length, "term")}`, short(terms.reduce((sum, { p }) => sum + p, 0))]);
  if (rest) rows.push([`the other ${count(rest.count, "product")}`, short(rest.value)]);
  if (bias) rows.push([bias.ref ? html`<${To} net=${net} selection=${selection} at=${bias.ref}>bias<//>` : bias.name, short(bias.value)]);
  if (value !== null) rows.push(["this page's number", html`<b>${long(value)}</b>`]);
  if (engine !== null && !selection.edit) rows.push(["the engine's", html`<b>${long(engine)}</b>`]);
  return html`<dl class="check" data-at=${address(net, selection)} data-sum=${value} data-engine=${engine} data-fits=${fits === undefined ? null : String(fits)}>
    ${rows.map(([name, what]) => html`<div><dt>${name}</dt><dd>${what}</dd></div>`)}
    ${difference !== null && !selection.edit && html`<div class=${fits ? "fits" : "differs"}><dt>difference</dt><dd>${difference === 0 ? "0" : difference.toExponential(1).replaceAll("-", "−")} ${fits ? "✓" : "— more than rounding"}</dd></div>`}
  </dl>`;
}

// A convolution's window, kernel and products as grids, of the channels that add most.
export function Windows({ net, step, found }) {
  const input = step.inputs[0];
  const byChannel = new Map();
  for (const term of found.terms) {
    const [y, x, c] = net.place(input, term.of.i);
    if (!byChannel.has(c)) byChannel.set(c, { c, sum: 0, terms: [] });
    const entry = byChannel.get(c);
    entry.sum += term.p;
    entry.terms.push({ y, x, ...term });
  }
  const channels = [...byChannel.values()].sort((a, b) => Math.abs(b.sum) - Math.abs(a.sum)).slice(0, 3);
  const [OH, OW] = net.values.get(step.output).shape;
  const grid = (terms, key, caption) => {
    const rows = [...new Set(terms.map(({ y }) => y))];
    const columns = [...new Set(terms.map(({ x }) => x))];
    const most = Math.max(...terms.map((term) => Math.abs(term[key]))) || 1;
    return html`<table class="grid"><caption>${caption}</caption><tbody>${rows.map((y) => html`<tr>${columns.map((x) => {
      const { [key]: number } = terms.find((term) => term.y === y && term.x === x);
      return html`<td class=${number < 0 ? "below" : "above"} style=${`--share:${Math.abs(number) / most}`}>${short(number, 3)}</td>`;
    })}</tr>`)}</tbody></table>`;
  };
  return html`<section class="windows" aria-label="Window times kernel">
    ${channels.map(({ c, sum, terms }) => html`<div class="product"><p>channel ${c} adds <b>${short(sum)}</b></p>
      ${grid(terms, "a", "window")}<span aria-hidden="true">×</span>${grid(terms, "b", "kernel")}<span aria-hidden="true">=</span>${grid(terms, "p", "products")}</div>`)}
    ${byChannel.size > 3 && html`<p class="note">the three of ${byChannel.size} channels that add most</p>`}
    <p class="note">As im2col writes it: a row of ${found.terms.length} numbers, one of ${(OH * OW).toLocaleString("en")} rows, times a column of the kernel's matrix.${kernelOf(net, step)}</p>
  </section>`;
}

function kernelOf(net, step) {
  const run = net.record.runs.find(({ layers }) => layers.includes(layerOf(step)));
  const tile = run && /F\((\d+)x\d+, (\d+)x/.exec(run.kernel);
  if (!tile) return run && run.kernel ? ` In training the engine's kernel for it is: ${run.kernel}.` : "";
  return ` In training the engine takes tiles of ${tile[1]}×${tile[1]} numbers at once: ${run.kernel}, which multiplies ${(Number(tile[1]) + Number(tile[2]) - 1) ** 2} times a tile and channel in place of ${(tile[1] * tile[2]) ** 2}.`;
}

// --- around it ---------------------------------------------------------------------------

export function Reaches({ net, selection, setHover }) {
  const all = useMemo(() => reaches(net, selection), [net, selection.side, selection.ref]);
  if (!all.length) return null;
  const sorted = [...all].sort((a, b) => Math.abs(b.p) - Math.abs(a.p));
  const title = selection.side === "forward" ? "Goes to" : "Its gradient reaches";
  const none = sorted[0].p === 0;
  return html`<section class="reaches"><h3>${title} <small>${count(all.length, "number")}</small></h3>
    ${none ? html`<p class="note">and ${selection.side === "forward" ? "adds" : "gives"} 0 to each.</p>` : html`<ol>${sorted.slice(0, 6).filter(({ p }) => p).map(({ to, p }) => html`<li><${To} net=${net} selection=${selection} at=${to} hover=${setHover} /> <span>${short(p)}</span></li>`)}</ol>`}
  </section>`;
}

export function Path({ net, selection, setHover }) {
  const found = useMemo(() => path(net, selection), [net, selection.ref]);
  const as = (at) => (selection.side === "backward" ? gradientOf(plain(at)) : plain(at));
  const hop = ({ ref: at, p }) => html`<li><${To} net=${net} selection=${selection} at=${as(at)} hover=${setHover} /></li>`;
  return html`<section class="path"><h3>From pixel to loss <small>along the largest terms</small></h3>
    <ol>${found.before.map(hop)}<li aria-current="true">${written(net, selection.ref)}</li>${found.after.map(hop)}
    ${found.loss && html`<li><a href=${address(net, { side: "forward", loss: found.loss })}>${found.loss.name}</a></li>`}
    ${found.stops && html`<li class="stops">Here the gradient stops. ${found.stops}.</li>`}</ol></section>`;
}

export function Field({ net, selection }) {
  const { record } = net;
  const masks = useMemo(() => receptiveField(net, selection.ref), [net, selection.ref]);
  const inputs = record.inputs.filter(({ value }) => masks.has(value) && net.values.get(value).by === undefined);
  if (!inputs.length || !net.values.get(selection.ref.id).by) return null;
  return html`<section class="field"><h3>Sees of the image</h3>${inputs.map(({ name, value }) => {
    const mask = masks.get(value);
    const places = [...mask.keys()].filter((i) => mask[i]);
    const [H, W, C] = net.values.get(value).shape;
    const window = around(net, value, places);
    if (!window) return html`<p>nothing of ${name}</p>`;
    const { top, left, bottom, right } = window;
    const text = `rows ${top} to ${bottom - 1}, columns ${left} to ${right - 1} of ${name}`;
    return html`<figure class="operand"><${OneMap} net=${net} side="forward" id=${value} channel=${0} picture=${C === 1 || C === 3} marks=${[{ ...window, kind: "window" }]} label=${text} /><figcaption>${text}: ${Math.round((100 * places.length) / (H * W * C))}% of it</figcaption></figure>`;
  })}</section>`;
}

export function Pushes({ net, selection }) {
  const { pushes, class_names: names, losses } = net.record;
  const shares = pushes && pushes.shares[selection.ref.id];
  if (!shares) return null;
  const [H, W, C] = net.values.get(selection.ref.id).shape;
  const channel = net.place(selection.ref.id, selection.ref.i)[2];
  const rows = pushes.classes.map((k, at) => ({ k, p: shares[at * C + channel] })).sort((a, b) => b.p - a.p);
  const most = largestOf(rows.map(({ p }) => p));
  return html`<section class="pushes"><h3>Pushes up or down <small>${H * W > 1 ? `all of map ${channel}` : `unit ${channel}`}: value × (d score / d value)</small></h3>
    <ol>${rows.map(({ k, p }) => html`<li><span>${names ? names[k] : losses[0].prediction.length > 1 ? `class ${k}` : "the score"}</span><span>${short(p)}</span><i class=${p < 0 ? "bar below" : "bar"} style=${`width:${(100 * Math.abs(p)) / most}%`}></i></li>`)}</ol></section>`;
}

// What the optimizer's next step would make of a weight.
export function NextStep({ net, selection }) {
  const { id, i } = selection.ref;
  const { x, d, after, shape } = net.weights[id];
  if (!after || !d) return null;
  const [gradient, change] = [net.dw(id)[i], after[i] - x[i]];
  const says = gradient === 0 ? "Its gradient for this image is 0" : `Its gradient for this image is ${short(gradient)}: growing it would ${gradient < 0 ? "lower" : "raise"} the loss`;
  return html`<section><h3>The next step</h3><p>${says}. One step of ${net.record.optimizer} on this image alone would make ${short(x[i])} into ${short(after[i])}:
    it ${change > 0 ? "grows" : change < 0 ? "shrinks" : "stays"} (${change > 0 ? "+" : ""}${short(change)})${gradient * change > 0 ? ", against the gradient's advice, by what the optimizer remembers of earlier steps" : ""}.</p>
    <p class="note">${shape.length > 1 ? "The same weight is used at every place." : ""}</p></section>`;
}

// A convolution's kernel around the selected weight, or the whole of a small weight.
export function Neighbours({ net, selection }) {
  const { id, i } = selection.ref;
  const { shape } = net.weights[id];
  const side = selection.side === "backward" && net.dw(id) ? "dw" : "w";
  const array = net.array(ref(side, id, i));
  if (!array) return null;
  const at = net.indices(id, i);
  const kernel = shape.length >= 3;
  const [rows, columns] = kernel ? [shape.length === 4 ? shape[0] : 1, shape[shape.length - 3]] : [1, Math.min(shape[shape.length - 1], 12)];
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const base = kernel ? i - (shape.length === 4 ? at[0] * strides[0] : 0) - at[shape.length - 3] * strides[shape.length - 3] : i - at[at.length - 1] + Math.max(0, Math.min(at[at.length - 1] - 5, shape[shape.length - 1] - columns));
  const place = (y, x) => base + (kernel ? (shape.length === 4 ? y * strides[0] : 0) + x * strides[shape.length - 3] : x);
  const most = largestOf(Array.from({ length: rows * columns }, (_, k) => array[place(Math.floor(k / columns), k % columns)]));
  return html`<section><h3>${net.weights[id].name} <small>${kernel ? `its window, input channel ${at[at.length - 2]}, output channel ${at[at.length - 1]}` : shape.join("×")}${side === "dw" ? ", gradients" : ""}</small></h3>
    <table class="grid"><tbody>${Array.from({ length: rows }, (_, y) => html`<tr>${Array.from({ length: columns }, (_, x) => {
      const number = array[place(y, x)];
      return html`<td class=${number < 0 ? "below" : "above"} style=${`--share:${Math.abs(number) / most}`} aria-current=${place(y, x) === i ? "true" : null}><${To} net=${net} selection=${selection} at=${ref(side, id, place(y, x))}>${short(number)}<//></td>`;
    })}</tr>`)}</tbody></table></section>`;
}

export function Formula({ net, selection }) {
  const { side, ref: at, loss } = selection;
  const step = loss ? null : at.side === "w" ? net.stepOf(at.id).step : side === "forward" ? net.values.get(at.id).by : (net.values.get(at.id).readers[0] || {}).step;
  const role = !loss && at.side === "w" ? net.stepOf(at.id).role : null;
  const text = formula(side, step, role, loss || (side === "backward" && !loss && at.side === "x" && net.values.get(at.id).loss) || null);
  const box = useRef();
  useLayoutEffect(() => {
    if (box.current) box.current.innerHTML = text;
  }, [text]);
  return text ? html`<p class="formula" ref=${box}></p>` : null;
}

// Change the number, and have all that follows computed again.
export function WhatIf({ net, selection, go }) {
  const { ref: at, edit } = selection;
  const flops = net.record.runs.reduce((sum, run) => sum + (run.flops || 0), 0);
  const known = net.record.steps.every((step) => step.op.kind !== "unknown" && Object.values(step.weights).every((id) => net.weights[id].x !== null));
  if (flops > 2e8 || !known) return html`<p class="note">What if this number were another one? This network is too large, or has a step this page does not know, to be computed again here.</p>`;
  const change = (event) => {
    event.preventDefault();
    const value = Number(new FormData(event.target).get("value"));
    if (Number.isFinite(value)) go({ ...selection, side: "forward", edit: { ref: at, value } });
  };
  return html`<form class="whatif" onSubmit=${change}><label>What if this number were <input name="value" inputmode="decimal" size="9" value=${net.at(at)} key=${`${at.side}${at.id}/${at.i}`} /></label> <button>compute</button>
    ${edit && html` <button type="button" onClick=${() => go({ ...selection, edit: null })}>put it back</button>`}</form>`;
}

// What the change made of the outputs.
export function Changed({ net, before }) {
  const { edit, record } = net;
  return html`<aside class="changed" role="status"><p><b>${written(net, edit.ref)}</b> is ${short(edit.value)} in place of ${short(before.at(edit.ref))}; all values behind it are computed in this page, gradients are left out.</p>
    ${record.losses.map((loss) => {
      const [now, then] = [net.x(loss.value), before.x(loss.value)];
      const best = [...now.keys()].sort((a, b) => Math.abs(now[b] - then[b]) - Math.abs(now[a] - then[a])).slice(0, 3);
      return html`<ul>${best.map((k) => html`<li>score ${record.class_names && now.length > 1 ? record.class_names[k] : k}: ${short(then[k])} → ${short(now[k])}</li>`)}</ul>`;
    })}</aside>`;
}

// The tours, and the stop that the page is at: of one that the address belongs to.
export function Tours({ net, hash }) {
  const all = useMemo(() => tours(net), [net]);
  const here = decodeURIComponent(hash);
  const at = all.flatMap((tour) => tour.stops.map((stop, place) => ({ tour, place, stop }))).find(({ stop: [address] }) => `#${address}` === here);
  const link = (tour, place, text) => html`<a href=${`#${tour.stops[place][0]}`}>${text}</a>`;
  return html`<section class="tours" aria-label="Tours"><p>Tours: ${all.map((tour) => html`<span aria-current=${at && at.tour === tour ? "true" : null}>${link(tour, 0, tour.name)}</span> `)}</p>
    ${at && html`<p class="stop" role="status"><b>${at.place + 1} of ${at.tour.stops.length}</b> ${at.stop[1]}
      ${at.place > 0 ? link(at.tour, at.place - 1, "back") : ""} ${at.place + 1 < at.tour.stops.length ? link(at.tour, at.place + 1, "next") : ""}</p>`}</section>`;
}

// What the model says of each class, and what it should say.
export function Predictions({ net, loss }) {
  const { prediction, target } = loss;
  if (prediction.length > 200) return null;
  const names = net.record.class_names && net.record.class_names.length === prediction.length ? net.record.class_names : prediction.length > 1 ? [...prediction.keys()] : ["output"];
  return html`<section class="pushes"><h3>Prediction <small>${loss.kind === "score" ? "" : "and target"}</small></h3>
    <ol>${[...prediction].map((p, k) => html`<li><span>${names[k]}${loss.kind !== "score" && target[k] ? html` <small>target ${short(target[k])}</small>` : ""}</span><span>${short(p)}</span><i class=${p < 0 ? "bar below" : "bar"} style=${`width:${(100 * Math.abs(p)) / largestOf(prediction)}%`}></i></li>`)}</ol></section>`;
}

export { gradientTerms, opened };
