// What a person does with the page: look at a pair, filter and sort the grid, change video.

// --- the large view -----------------------------------------------------------------------------------------------

const viewer = makeViewer();

function makeViewer() {
  const dialog = /** @type {HTMLDialogElement} */ (element("viewer"));
  const canvas = /** @type {HTMLCanvasElement} */ (pick(dialog, "canvas"));
  canvas.dataset.fit = "both";
  const view = new PairView(canvas, (text) => { pick(dialog, ".readout").textContent = text; });
  /** @type {Pair[]} */ let list = [];
  let position = 0;
  redraws.add(() => { if (dialog.open) view.redraw(); showLook(); });

  function showLook() {
    pick(dialog, "[data-do=lines]").setAttribute("aria-pressed", look.draw === "lines");
    pick(dialog, "[data-do=residual]").setAttribute("aria-pressed", look.colour === "residual");
  }

  function show() {
    const pair = list[position];
    const [time0, time1] = pair.times.map((time) => seconds(time));
    pick(dialog, "#viewer-title").textContent =
      `${time0} → ${time1} · frames ${pair.frames.join(" and ")} · ${pair.tags.join(", ")}`;
    pick(dialog, ".quality").replaceChildren(...qualityRows(pair));
    pick(dialog, "[data-do=previous]").disabled = position === 0;
    pick(dialog, "[data-do=next]").disabled = position === list.length - 1;
    showLook();
    view.show(pair);
  }

  /** @param {number} by */
  function move(by) {
    const next = clamp(0, position + by, list.length - 1);
    if (next !== position) { position = next; show(); }
  }

  /** @param {number} by */
  function stepPoint(by) {
    const count = list[position].residuals.length;
    const index = view.hover ? (view.hover.index + by + count) % count : by > 0 ? 0 : count - 1;
    view.highlight({ index, side: view.hover?.side ?? 0 });
  }

  /** @param {number} factor: about the hovered point, else the middle of frame 0 */
  function zoom(factor) {
    const pane = view.panes[0];
    const [x, y] = view.hover ? view.screen(view.hover.side, view.hover.index)
      : [pane.x + pane.width / 2, pane.y + pane.height / 2];
    view.zoomAt(x, y, factor);
  }

  /** @type {Record<string, () => void>} */
  const actions = {
    previous: () => move(-1), next: () => move(1), in: () => zoom(1.5), out: () => zoom(1 / 1.5), fit: () => view.fit(),
    lines: () => setLook("draw", look.draw === "lines" ? "dots" : "lines"),
    residual: () => setLook("colour", look.colour === "residual" ? "position" : "residual"),
    close: () => dialog.close(), above: () => stepPoint(-1), below: () => stepPoint(1),
  };
  /** @type {Record<string, string>} */
  const keys = { ArrowLeft: "previous", ArrowRight: "next", ArrowUp: "above", ArrowDown: "below",
    "+": "in", "=": "in", "-": "out", 0: "fit", l: "lines", r: "residual" };
  dialog.addEventListener("keydown", (event) => {
    const action = keys[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[action]();
  });
  dialog.addEventListener("click", (event) => {
    const button = /** @type {HTMLElement} */ (event.target).closest("[data-do]");
    if (button) actions[/** @type {HTMLElement} */ (button).dataset.do || ""]();
    else if (event.target === dialog) dialog.close();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.zoomAt(event.offsetX, event.offsetY, Math.exp(-event.deltaY / 400));
  }, { passive: false });
  let dragged = -1;
  canvas.addEventListener("pointerdown", (event) => {
    dragged = view.sideAt(event.offsetX, event.offsetY);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (dragged >= 0 && event.buttons) view.pan(dragged, event.movementX, event.movementY);
  });
  canvas.addEventListener("pointerup", () => { dragged = -1; });
  new ResizeObserver(() => view.layout()).observe(canvas);

  return {
    /** @param {Pair[]} pairs @param {number} index */
    open(pairs, index) {
      [list, position] = [pairs, index];
      dialog.showModal();
      canvas.focus();
      show();
    },
  };
}

/** @param {Pair} pair @returns {HTMLElement[]} */
function qualityRows(pair) {
  const q = pair.quality;
  const rows = [
    ["Score", fixed(pair.score, 2)],
    ["Interval", seconds(q.interval_seconds)],
    ["Interval, frames", fixed(q.interval_frames, 0)],
    ["Correspondences", fixed(q.num_correspondences, 0)],
    ["Drawn of these", fixed(pair.residuals.length, 0)],
    ["Coverage", `${fixed(100 * q.coverage, 0)} %`],
    ["Median displacement", `${fixed(q.median_displacement_px, 1)} px`],
    ["Median parallax", `${fixed(q.median_parallax_px, 1)} px`],
    ["Epipolar residual", `${fixed(q.epipolar_residual_px, 2)} px`],
    ["Links", fixed(q.num_links, 0)],
    ["Found by guided re-matching", `${fixed(100 * q.guided_share, 0)} %`],
    ["Confirmed by patch alignment", `${fixed(100 * q.confirmed_share, 0)} %`],
    ["Matchers", fixed(q.num_matchers, 0)],
  ];
  return rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
}

/** @param {"draw" | "colour"} what @param {string} value */
function setLook(what, value) {
  look[what] = value;
  for (const redraw of redraws) redraw();
}

// --- grid ---------------------------------------------------------------------------------------------------------

/** Orders of the grid: value, and whether large is good. @type {Record<string, [string, (pair: Pair) => number, boolean | null]>} */
const ORDERS = {
  score: ["score", (pair) => pair.score, true],
  interval: ["interval", (pair) => pair.quality.interval_seconds, true],
  number: ["correspondences", (pair) => pair.quality.num_correspondences, true],
  parallax: ["parallax", (pair) => pair.quality.median_parallax_px, true],
  displacement: ["displacement", (pair) => pair.quality.median_displacement_px, true],
  residual: ["epipolar residual", (pair) => pair.quality.epipolar_residual_px, false],
  coverage: ["coverage", (pair) => pair.quality.coverage, true],
  links: ["links", (pair) => pair.quality.num_links, true],
  guided: ["guided share", (pair) => pair.quality.guided_share, true],
  time: ["time", (pair) => pair.times[0], null],
};

const whenSeen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    whenSeen.unobserve(entry.target);
    entry.target.dispatchEvent(new Event("seen"));
  }
}, { rootMargin: "400px" });

/** @param {Pair} pair @param {(pair: Pair) => void} open */
function makeCard(pair, open) {
  const canvas = make("canvas", { role: "img" });
  const button = make("button", { type: "button", class: "picture", "aria-label": `Open: ${describe(pair)}` }, canvas);
  const { quality: q } = pair;
  const text = make("div", { class: "text" },
    make("div", { class: "row" },
      make("span", {}, make("strong", {}, `${seconds(q.interval_seconds)} apart`), ` from ${seconds(pair.times[0])}`),
      make("span", { class: "tags" }, ...pair.tags.map((tag) => make("span", { class: tag }, tag)))),
    make("dl", { class: "cells" }, ...[
      ["score", fixed(pair.score, 2)],
      ["points", fixed(q.num_correspondences, 0)],
      ["parallax", `${fixed(q.median_parallax_px, 1)} px`],
      ["residual", `${fixed(q.epipolar_residual_px, 2)} px`],
      ["coverage", `${fixed(100 * q.coverage, 0)} %`],
    ].map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))));
  const [[w0, h0], [w1, h1]] = pair.sizes;
  canvas.style.aspectRatio = `${w0 + w1} / ${Math.max(h0, h1)}`; // until it is drawn
  const view = new PairView(canvas);
  button.addEventListener("click", () => open(pair));
  canvas.addEventListener("seen", () => {
    view.show(pair);
    redraws.add(view.redraw);
    new ResizeObserver(() => { if (canvas.clientWidth && canvas.width !== Math.round(canvas.clientWidth * devicePixelRatio)) view.layout(); }).observe(canvas);
  });
  whenSeen.observe(canvas);
  return make("li", { class: "card", "data-name": pair.name }, button, text);
}

/** @param {HTMLElement} section @param {Video} video */
function makeGrid(section, video) {
  const form = /** @type {HTMLFormElement} */ (pick(section, "form"));
  const [sort, direction] = [pick(form, "[name=sort]"), pick(form, "[name=direction]")];
  const cards = new Map(video.pairs.map((pair) => [pair, makeCard(pair, (chosen) => viewer.open(shown, shown.indexOf(chosen)))]));
  /** @type {Pair[]} */ let shown = [];
  /** @type {Map<Histogram, number>} */ const bars = new Map();
  let isBestFirst = false;
  const [width, height] = video.pairs[0]?.sizes[0] ?? [1, 1];
  // Two wide frames beside each other need room; portraits and frames so wide that they are stacked do not.
  pick(section, ".grid").style.setProperty("--card", width > 1.2 * height && width <= 2.2 * height ? "540px" : "400px");
  const total = video.bars.reduce((sum, bar) => sum + bar.num_pairs, 0);

  sort.append(make("option", { value: "turns" }, "worst and best in turn"),
    ...Object.entries(ORDERS).map(([value, [label]]) => make("option", { value }, label)));
  const shots = video.shots.filter((shot) => video.pairs.some((pair) => pair.shot === shot.index));
  pick(form, "[name=shot]").append(...shots.map((shot) =>
    make("option", { value: shot.index }, `${shot.index + 1} (${seconds(shot.start)} to ${seconds(shot.end)})`)));

  /** @param {Pair} pair */
  function passes(pair) {
    const values = new FormData(form);
    const number = (/** @type {string} */ name, /** @type {number} */ otherwise) =>
      values.get(name) ? Number(values.get(name)) : otherwise;
    const tags = [...form.querySelectorAll("[name=tag][aria-pressed=true]")].map((node) => /** @type {HTMLButtonElement} */ (node).value);
    const { interval_seconds: interval, num_correspondences: count } = pair.quality;
    return (!values.get("shot") || String(pair.shot) === values.get("shot")) && (!tags.length || tags.some((tag) => pair.tags.includes(tag))) &&
      interval >= number("from", 0) - 1e-9 && interval <= number("to", Infinity) + 1e-9 && count >= number("least", 0) &&
      [...bars].every(([histogram, bar]) => barOf(histogram, pair.quality[histogram.quantity.field]) === bar);
  }

  /** @param {Pair[]} pairs */
  function ordered(pairs) {
    const turns = sort.value === "turns";
    const [, value, isLargeGood] = ORDERS[turns ? "score" : sort.value];
    const sign = (isLargeGood ?? false) === isBestFirst ? -1 : 1;
    const line = [...pairs].sort((a, b) => sign * (value(a) - value(b)) || a.frames[0] - b.frames[0]);
    if (!turns) return line;
    const mixed = [];
    while (line.length) mixed.push(/** @type {Pair} */ (mixed.length % 2 ? line.pop() : line.shift()));
    return mixed;
  }

  for (const button of form.querySelectorAll("[name=tag]")) {
    const { value } = /** @type {HTMLButtonElement} */ (button);
    button.append(make("small", {}, ` ${video.pairs.filter((pair) => pair.tags.includes(value)).length}`));
  }

  function update() {
    shown = ordered(video.pairs.filter(passes));
    pick(section, ".grid").replaceChildren(...shown.map((pair) => cards.get(pair)));
    pick(section, "[data-role=count]").textContent = shown.length === video.pairs.length
      ? `${video.pairs.length} of ${fixed(total, 0)} kept pairs are drawn` : `${shown.length} of ${video.pairs.length} drawn pairs shown`;
    pick(section, ".empty").hidden = shown.length > 0;
    const hits = pick(/** @type {HTMLElement} */ (section.closest("article")), "[data-role=hits]");
    hits.hidden = !bars.size;
    hits.textContent = `${shown.length} of the ${video.pairs.length} drawn pairs fall here`;
    const isTime = sort.value === "time";
    direction.textContent = isTime ? (isBestFirst ? "latest first" : "earliest first") : isBestFirst ? "best first" : "worst first";
    pick(form, "[type=reset]").hidden = shown.length === video.pairs.length;
  }

  function showLook() {
    for (const button of form.querySelectorAll(".switch button")) {
      const { name, value } = /** @type {HTMLButtonElement} */ (button);
      button.setAttribute("aria-pressed", String(look[/** @type {"draw" | "colour"} */ (name)] === value));
    }
    pick(form, ".ramp").hidden = look.colour !== "residual";
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", update);
  form.addEventListener("reset", () => {
    bars.clear();
    const article = /** @type {HTMLElement} */ (section.closest("article"));
    for (const node of article.querySelectorAll(".plot [aria-pressed], [name=tag]")) node.setAttribute("aria-pressed", "false");
    setTimeout(update); // once the fields are cleared
  });
  form.addEventListener("click", (event) => {
    const button = /** @type {HTMLButtonElement | null} */ (/** @type {HTMLElement} */ (event.target).closest("button"));
    if (!button) return;
    if (button.name === "direction") isBestFirst = !isBestFirst;
    if (button.name === "tag") button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    if (button.name === "draw" || button.name === "colour") setLook(button.name, button.value);
    else if (button.type !== "reset") update();
  });
  redraws.add(showLook);
  showLook();
  update();
  return {
    /** @param {number} index: open a drawn pair, whatever the filters */
    open(index) {
      const pair = video.pairs[index];
      const list = shown.includes(pair) ? shown : video.pairs;
      viewer.open(list, list.indexOf(pair));
    },
    /** @param {Histogram} histogram @param {number} bar */
    toggle(histogram, bar) {
      if (bars.get(histogram) === bar) bars.delete(histogram);
      else bars.set(histogram, bar);
      update();
      return bars.get(histogram) === bar;
    },
  };
}

/** @param {Histogram} histogram @param {number} value @returns {number} the bar that holds it */
function barOf({ edges, counts }, value) {
  let bar = 0;
  while (bar < counts.length - 1 && value >= edges[bar + 1] - 1e-9) bar++;
  return bar;
}

// --- page ---------------------------------------------------------------------------------------------------------

const articles = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("article.video")]);
const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("tr[data-video]")]);
const built = new Set();

/** @param {number} index */
function showVideo(index) {
  articles.forEach((article, i) => { article.hidden = i !== index; });
  rows.forEach((row, i) => {
    row.classList.toggle("current", i === index);
    if (i === index) pick(row, "a").setAttribute("aria-current", "true");
    else pick(row, "a").removeAttribute("aria-current");
  });
  const article = articles[index];
  if (!article || built.has(index)) return;
  built.add(index);
  const video = data.videos[index];
  const section = pick(article, ".pairs");
  const grid = section ? makeGrid(section, video) : null;
  drawTimeline(pick(article, ".timeline"), video, (pair) => grid?.open(pair));
  const panels = pick(article, ".panels");
  if (panels) drawHistograms(panels, video.histograms, grid ? grid.toggle : () => false);
}

const fromAddress = () => {
  const index = Number(/^#video-(\d+)$/.exec(location.hash)?.[1] ?? NaN);
  return index < articles.length ? index : -1;
};
window.addEventListener("hashchange", () => {
  if (fromAddress() < 0) return;
  showVideo(fromAddress());
  pick(articles[fromAddress()], "h2").focus({ preventScroll: true });
  articles[fromAddress()].scrollIntoView();
});
for (const row of rows) row.addEventListener("click", () => { location.hash = `video-${row.dataset.video}`; });
element("search").addEventListener("input", (event) => {
  const wanted = /** @type {HTMLInputElement} */ (event.target).value.trim().toLowerCase();
  for (const row of document.querySelectorAll(".videos tbody tr")) {
    const code = articles[Number(/** @type {HTMLElement} */ (row).dataset.video)]?.querySelector(".code")?.textContent ?? "";
    /** @type {HTMLElement} */ (row).hidden = !`${row.textContent} ${code}`.toLowerCase().includes(wanted);
  }
});
showVideo(Math.max(0, fromAddress() >= 0 ? fromAddress() : data.videos.findIndex((video) => video.bars.length > 0)));
window.addEventListener("beforeprint", () => {
  for (const canvas of document.querySelectorAll(".card canvas")) canvas.dispatchEvent(new Event("seen"));
});
