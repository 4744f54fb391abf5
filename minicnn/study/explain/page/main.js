// The page: the selection out of the address, the keys, and everything drawn from them.

import { html, render, useEffect, useLayoutEffect, useMemo, useState } from "./vendor/htm-preact.js";
import { Network, unpack } from "./data.js";
import { address, opened, parse, short, stopped, written } from "./explain.js";
import { ref } from "./ops.js";
import { Changed, Field, Formula, Maps, Neighbours, NextStep, Operands, Path, Predictions, Pushes, Rail, Reaches, Sum, Tours, WhatIf, Windows } from "./view.js";

function App({ network, host }) {
  const [hash, setHash] = useState(host.hash);
  const [hover, setHover] = useState(null);
  const [playing, setPlaying] = useState(false);
  const selection = useMemo(() => parse(hash, network), [hash]);
  const edited = selection.edit ? written(network, selection.edit.ref) + selection.edit.value : "";
  const net = useMemo(() => (selection.edit ? new Network(network.record, selection.edit) : network), [edited]);
  const go = (next) => host.go(address(net, next));
  const found = useMemo(() => opened(net, selection), [net, selection]);

  useLayoutEffect(() => host.listen((next) => { setHash(next); setHover(null); }), []);
  useLayoutEffect(() => {
    const onKey = (event) => {
      if (event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
      const next = moved(net, selection, event.key);
      if (event.key === "p") setPlaying(!playing);
      else if (next) go(next);
      else return;
      event.preventDefault();
    };
    host.element.addEventListener("keydown", onKey);
    return () => host.element.removeEventListener("keydown", onKey);
  });
  useEffect(() => {
    if (!playing) return undefined;
    const timer = setTimeout(() => go(onward(net, selection)), 250);
    return () => clearTimeout(timer);
  });
  const redraw = useState(0)[1];
  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const changed = () => redraw((count) => count + 1);
    query.addEventListener("change", changed);
    return () => query.removeEventListener("change", changed);
  }, []);

  const isValue = !selection.loss && selection.ref.side === "x";
  const isWeight = !selection.loss && selection.ref.side === "w";
  const by = isValue && net.values.get(selection.ref.id).by;
  const stops = isValue && selection.side === "backward" && found.terms.length > 0 && found.terms.every(({ p }) => p === 0);
  return html`
    <${Header} net=${net} selection=${selection} go=${go} playing=${playing} setPlaying=${setPlaying} />
    <${Tours} net=${network} hash=${hash} />
    ${selection.edit && html`<${Changed} net=${net} before=${network} />`}
    <div class="columns"><${Rail} net=${net} selection=${selection} />
    <main tabindex="-1">
      <div class="left">
        ${isValue && html`<${Maps} net=${net} selection=${selection} go=${go} hover=${hover} />`}
        ${selection.loss && html`<${Predictions} net=${net} loss=${selection.loss} />`}
        ${isWeight && html`<${Neighbours} net=${net} selection=${selection} />`}
        <${Operands} net=${net} selection=${selection} found=${found} hover=${hover} />
      </div>
      <div class="right">
        <h2 aria-live="polite">${title(net, selection)} <small>${short(found.engine)}</small></h2>
        <${Formula} net=${net} selection=${selection} />
        ${stops && html`<p class="stops">The gradient stops here: ${stopped(net, selection.ref.id, selection.ref.i)}.</p>`}
        <${Sum} net=${net} selection=${selection} found=${found} setHover=${setHover} />
        ${selection.side === "forward" && by && by.op.kind === "conv" && html`<${Windows} net=${net} step=${by} found=${found} />`}
        ${isWeight && html`<${NextStep} net=${net} selection=${selection} />`}
        ${!selection.loss && selection.side === "forward" && html`<${WhatIf} net=${net} selection=${selection} go=${go} />`}
        <${Reaches} net=${net} selection=${selection} setHover=${setHover} />
        ${isValue && !selection.edit && html`<${Pushes} net=${net} selection=${selection} /><${Path} net=${net} selection=${selection} setHover=${setHover} /><${Field} net=${net} selection=${selection} />`}
      </div>
    </main></div>
    <footer><p>Keys: arrows move the place, <kbd>[</kbd> and <kbd>]</kbd> change the map, <kbd>b</kbd> turns forward and backward, <kbd>p</kbd> plays. Every sum is computed in this page from its operands, and shown beside the number that the engine computed.
    ${net.record.left_out > 0 && ` To keep this file below 10 MB, ${net.record.left_out} arrays are left out; values among them are computed in this page, and their sums have nothing to be compared with.`}</p></footer>`;
}

function title(net, { side, ref: at, loss }) {
  if (loss) return side === "forward" ? `The ${loss.name}` : `The ${loss.name}'s own gradient, where all begin`;
  return `${side === "backward" ? "Gradient at " : ""}${written(net, at)}`;
}

function Header({ net, selection, go, playing, setPlaying }) {
  const { record } = net;
  const named = (k) => (record.class_names ? record.class_names[k] : `class ${k}`);
  const says = record.losses.map(({ prediction, label, given, result, loss }) => {
    if (label === null) return result === null ? `no loss: gradients of the largest output` : `${loss} ${short(result)}`;
    const best = prediction.length > 1 ? prediction.indexOf(Math.max(...prediction)) : Number(prediction[0] > 0.5);
    const share = prediction.length > 1 ? prediction[best] : best ? prediction[0] : 1 - prediction[0];
    return `predicts ${named(best)} (${Math.round(100 * share)}%), ${given ? `label ${named(label)}` : "no label given: its own prediction stands for it"}, loss ${short(result)}`;
  });
  const button = (side, text) => html`<button aria-pressed=${selection.side === side} onClick=${() => go({ ...selection, side, edit: side === "backward" ? null : selection.edit })}>${text}</button>`;
  return html`<header><h1>${record.title}</h1><p>${says.join("; ")}</p>
    <div class="switch" role="group" aria-label="Direction">${button("forward", "Forward")}${button("backward", "Backward")}<button aria-pressed=${playing} onClick=${() => setPlaying(!playing)}>${playing ? "Pause" : "Play"}</button></div></header>`;
}

const STEPS = { ArrowUp: [-1, 0, 0], ArrowDown: [1, 0, 0], ArrowLeft: [0, -1, 0], ArrowRight: [0, 1, 0], "[": [0, 0, -1], "]": [0, 0, 1] };

// The selection after a key; null for a key that means nothing.
function moved(net, selection, key) {
  if (key === "b") return { ...selection, side: selection.side === "forward" ? "backward" : "forward", edit: null };
  if (!STEPS[key] || selection.loss || selection.ref.side !== "x") return null;
  const { id, i } = selection.ref;
  const { shape } = net.values.get(id);
  const vector = shape[0] * shape[1] === 1;
  const by = vector && STEPS[key][2] === 0 ? [0, 0, STEPS[key][0] + STEPS[key][1]] : STEPS[key];
  const at = net.place(id, i).map((index, axis) => Math.min(Math.max(index + by[axis], 0), shape[axis] - 1));
  return { ...selection, ref: ref("x", id, net.flat(id, ...at)) };
}

// The next place of the map, row by row.
function onward(net, selection) {
  if (selection.loss || selection.ref.side !== "x") return selection;
  const { id, i } = selection.ref;
  const [H, W, C] = net.values.get(id).shape;
  const [row, column, channel] = net.place(id, i);
  const next = (row * W + column + 1) % (H * W);
  return { ...selection, ref: ref("x", id, H * W === 1 ? (i + 1) % C : net.flat(id, Math.floor(next / W), next % W, channel)) };
}

// Draw a record into an element. host: where the selection is kept and comes from; default the window's own address.
export async function start(element, record, host = location.protocol === "about:" ? innerHost(element) : windowHost(element)) {
  const network = new Network(await unpack(record));
  render(html`<${App} network=${network} host=${host} />`, element);
  element.dataset.ready = "true";
}

function windowHost() {
  return {
    element: document,
    hash: location.hash,
    go(hash) {
      history.replaceState(null, "", hash);
      dispatchEvent(new HashChangeEvent("hashchange"));
    },
    listen(changed) {
      const onChange = () => changed(location.hash);
      addEventListener("hashchange", onChange);
      return () => removeEventListener("hashchange", onChange);
    },
  };
}

// In a notebook the address is the notebook's: links are caught, and `keep` is told of every selection.
function innerHost(element, hash = "", keep = () => {}) {
  const host = {
    element,
    hash,
    show: () => {},
    go(next) {
      keep(next);
      host.show(next);
    },
    listen(changed) {
      host.show = changed;
      return () => {};
    },
  };
  element.tabIndex = 0;
  element.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (!link) return;
    event.preventDefault();
    host.go(link.getAttribute("href"));
  });
  return host;
}

// The module of the notebook's widget (anywidget).
export default {
  async render({ model, el }) {
    el.classList.add("minicnn-explainer");
    const host = innerHost(el, model.get("hash"), (hash) => {
      model.set("hash", hash);
      model.save_changes();
    });
    model.on("change:hash", () => host.show(model.get("hash")));
    await start(el, JSON.parse(model.get("record")), host);
  },
};
