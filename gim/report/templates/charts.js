// The charts over all kept pairs of a video: time line and histograms.

/** Shots as a lane, a column per start as high as its pair reaches. @param {HTMLElement} section @param {Video} video
 * @param {(pair: number) => void} open */
function drawTimeline(section, video, open) {
  const chart = pick(section, ".chart");
  const readout = pick(section, ".readout");
  const [left, right, high, lane] = [44, 4, video.bars.length ? 120 : 0, 24];
  const longest = Math.max(0.001, ...video.bars.map((bar) => bar.end_seconds - bar.start_seconds));
  const step = roundStep(longest, 4);
  const top = Math.ceil(longest / step - 1e-9) * step;
  let current = -1;
  /** @type {SVGElement[]} */ let columns = [];
  /** @type {(time: number) => number} */ let toX = () => 0;
  /** @type {SVGElement} */ let reach;

  function draw() {
    const width = chart.clientWidth;
    if (!width) return;
    toX = (time) => left + ((time - video.start) / Math.max(1e-6, video.end - video.start)) * (width - left - right);
    const svg = make("svg", { viewBox: `0 0 ${width} ${high + lane + 26}`, height: high + lane + 26, role: "group",
      "aria-label": `${video.bars.length} starts; arrow keys move, Enter opens`, ...(video.bars.length ? { tabindex: 0 } : {}) });
    const pattern = `hatch-${video.id}`;
    svg.append(make("defs", {}, make("pattern", { id: pattern, width: 6, height: 6, patternUnits: "userSpaceOnUse",
      patternTransform: "rotate(45)" }, make("rect", { width: 6, height: 6, class: "hatch-back" }),
      make("line", { x1: 0, y1: 0, x2: 0, y2: 6, class: "hatch-line" }))));
    for (let value = 0; high && value <= top + 1e-9; value += step) {
      const y = high - (value / top) * (high - 8);
      svg.append(make("line", { x1: left, x2: width - right, y1: y, y2: y, class: "grid-line" }),
        make("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, `${+value.toFixed(3)} s`));
    }
    for (const shot of video.shots) svg.append(...drawShot(shot, pattern));
    const thin = Math.max(1, Math.min(24, 0.8 * (toX(video.start + video.bar_seconds) - left)));
    columns = video.bars.map((bar) => make("rect", {
      class: bar.drawn < 0 ? "column" : "column drawn", x: toX(bar.start_seconds).toFixed(1), width: thin.toFixed(1),
      y: high - ((bar.end_seconds - bar.start_seconds) / top) * (high - 8),
      height: ((bar.end_seconds - bar.start_seconds) / top) * (high - 8),
    }));
    reach = make("path", { class: "reach", d: "" });
    svg.append(...columns, reach, ...timeTicks(width));
    listen(svg);
    chart.replaceChildren(svg);
  }

  /** @param {Shot} shot @param {string} pattern */
  function drawShot(shot, pattern) {
    const [x, width] = [toX(shot.start), Math.max(1, toX(shot.end) - toX(shot.start))];
    const what = `Shot ${shot.index + 1}, ${seconds(shot.start)} to ${seconds(shot.end)}, ${shot.samples} samples` +
      (shot.reason ? `: rejected, ${shot.reason}` : "");
    const rect = make("rect", { x, y: high + 2, width, height: lane, rx: 2, class: shot.reason ? "lane rejected" : "lane",
      ...(shot.reason ? { fill: `url(#${pattern})`, style: `fill: url(#${pattern})` } : {}) }, make("title", {}, what));
    rect.addEventListener("pointerenter", () => { readout.textContent = what; });
    const text = shot.reason || `shot ${shot.index + 1}`;
    const hasRoom = width > 24 + 7.5 * text.length; // about the width of the letters
    return hasRoom ? [rect, make("text", { x: x + 8, y: high + 18, class: "lane-text" }, text)] : [rect];
  }

  /** @param {number} width */
  function timeTicks(width) {
    const ticks = [];
    const every = roundStep(video.end - video.start, width < 600 ? 4 : 10);
    for (let time = Math.ceil(video.start / every) * every; time <= video.end + 1e-9; time += every) {
      ticks.push(make("text", { x: toX(time), y: high + lane + 20, "text-anchor": "middle" }, clock(time, every)));
    }
    return ticks;
  }

  /** @param {number} index */
  function select(index) {
    columns[current]?.classList.remove("current");
    current = index;
    const bar = video.bars[index];
    if (!bar) { reach?.setAttribute("d", ""); readout.textContent = ""; return; }
    columns[index].classList.add("current");
    const [x0, x1] = [toX(bar.start_seconds), toX(bar.end_seconds)];
    reach.setAttribute("d", `M${x0} ${high + 2}v${lane / 2}H${x1}V${high + 2}`);
    readout.textContent = `${seconds(bar.start_seconds)} → ${seconds(bar.end_seconds)}: reaches ` +
      `${seconds(bar.end_seconds - bar.start_seconds)}, ${fixed(bar.num_correspondences, 0)} correspondences` +
      (bar.num_pairs > 1 ? ` (farthest of ${bar.num_pairs} pairs here, median ${seconds(bar.median_reach_seconds)})` : "") +
      (bar.drawn < 0 ? " · not among the pairs drawn" : "");
  }

  /** @param {SVGElement} svg */
  function listen(svg) {
    /** @param {MouseEvent} event @returns {number} */
    const at = (event) => {
      const x = event.clientX - svg.getBoundingClientRect().left;
      const y = event.clientY - svg.getBoundingClientRect().top;
      let best = -1;
      let bound = 24;
      video.bars.forEach((bar, i) => {
        const distance = Math.abs(toX(bar.start_seconds) + 2 - x);
        if (distance < bound) [best, bound] = [i, distance];
      });
      return y > high ? -1 : best;
    };
    svg.addEventListener("pointermove", (event) => { if (at(event) >= 0) select(at(event)); });
    svg.addEventListener("pointerleave", () => select(-1));
    svg.addEventListener("click", (event) => { if (at(event) >= 0) choose(at(event)); });
    svg.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by) { event.preventDefault(); select(clamp(0, current + by, video.bars.length - 1)); }
      if (event.key === "Enter" && current >= 0) choose(current);
    });
  }

  /** @param {number} index */
  function choose(index) {
    select(index);
    if (video.bars[index].drawn >= 0) open(video.bars[index].drawn);
  }

  new ResizeObserver(perFrame(draw)).observe(chart);
  draw();
}

/** @param {number} time @param {number} every */
function clock(time, every) {
  if (time < 60 && every < 30) return `${+time.toFixed(2)} s`;
  const whole = Math.round(time);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** @param {HTMLElement} root @param {Histogram[]} histograms
 * @param {(histogram: Histogram, bar: number) => boolean} toggle: returns whether the bar now filters */
function drawHistograms(root, histograms, toggle) {
  root.replaceChildren(...histograms.map((histogram) => {
    const { quantity, edges, counts, is_open: isOpen, median } = histogram;
    const factor = quantity.unit === "%" ? 100 : 1;
    const unit = quantity.unit ? ` ${quantity.unit}` : "";
    const show = (/** @type {number} */ value) => String(+(value * factor).toFixed(value * factor < 1 ? 3 : 2));
    const most = Math.max(...counts);
    const buttons = counts.map((count, i) => {
      const isLast = i === counts.length - 1;
      const range = isOpen && isLast ? `${show(edges[i])}${unit} and more` : `${show(edges[i])} to ${show(edges[i + 1])}${unit}`;
      const text = `${quantity.label} ${range}: ${count} pair${count === 1 ? "" : "s"}`;
      const button = make("button", { type: "button", title: text, "aria-label": text, "aria-pressed": false,
        tabindex: i ? -1 : 0, "data-bar": i }, make("span", { style: `height: ${count ? Math.max(2, (100 * count) / most) : 0}%` }));
      button.addEventListener("click", () => {
        const isOn = toggle(histogram, i);
        for (const other of buttons) other.setAttribute("aria-pressed", other === button && isOn);
      });
      return button;
    });
    const span = edges[edges.length - 1] - edges[0];
    const marker = make("i", { class: "median", style: `left: ${clamp(0, (100 * (median - edges[0])) / span, 100)}%` });
    const plot = make("div", { class: "plot", role: "group", "aria-label": quantity.label }, ...buttons, marker);
    plot.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const at = buttons.indexOf(document.activeElement);
      if (by && at >= 0) { event.preventDefault(); buttons[clamp(0, at + by, buttons.length - 1)].focus(); }
    });
    const last = edges[isOpen ? edges.length - 2 : edges.length - 1];
    return make("div", { class: "panel", "data-field": quantity.field, title: quantity.help },
      make("div", { class: "row" }, make("h4", {}, quantity.label),
        make("span", { class: "n" }, `${fixed(median * factor, factor === 100 ? 0 : quantity.decimals)}${unit}`)),
      plot,
      make("div", { class: "ticks" }, make("span", {}, show(edges[0])), make("span", {}, `${isOpen ? "≥ " : ""}${show(last)}${unit}`)));
  }));
}
