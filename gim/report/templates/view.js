"use strict";
// One pair on one canvas: both frames, what corresponds in them, and the epipolar line of the point under the pointer.
// The page inlines view.js, charts.js and page.js, in this order, as one script; none fetches anything.

/**
 * @typedef {{index: number, start: number, end: number, samples: number, reason: string}} Shot
 * @typedef {{start_seconds: number, end_seconds: number, shot: number, num_pairs: number,
 *   median_reach_seconds: number, name: string, num_correspondences: number, drawn: number}} Bar
 * @typedef {{field: string, label: string, unit: string, help: string, decimals: number}} Quantity
 * @typedef {{quantity: Quantity, edges: number[], counts: number[], is_open: boolean, median: number}} Histogram
 * @typedef {{name: string, frames: number[], times: number[], shot: number, tags: string[], score: number,
 *   quality: Record<string, number>, images: number[], sizes: number[][], points: number[], residuals: number[],
 *   F01: number[]}} Pair   points: x0, y0, x1, y1 in hundredths of a pixel; residuals: hundredths of a pixel
 * @typedef {{id: string, start: number, end: number, bar_seconds: number, shots: Shot[], bars: Bar[],
 *   histograms: Histogram[], pairs: Pair[]}} Video
 * @typedef {{x: number, y: number, width: number, height: number}} Pane   of a canvas, CSS pixels
 * @typedef {{scale: number, x: number, y: number}} Zoom   screen = (x, y) + scale * (pixel + 0.5)
 * @typedef {{draw: string, colour: string}} Look
 */

/** @type {{videos: Video[], images: string[]}} */
const data = JSON.parse(element("data").textContent || "");
/** @type {Look} */
const look = { draw: "lines", colour: "position" };
const redraws = /** @type {Set<() => void>} */ (new Set());

/** @param {string} id @returns {HTMLElement} */
function element(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/** @param {ParentNode} root @param {string} selector @returns {any} */
const pick = (root, selector) => root.querySelector(selector);

/**
 * Make an element; strings become text, never markup.
 * @param {string} tag @param {Record<string, any>} attributes @param {...(Node | string)} children @returns {any}
 */
function make(tag, attributes, ...children) {
  const isSvg = ["svg", "g", "rect", "path", "line", "text", "title", "defs", "pattern"].includes(tag);
  const node = isSvg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/** @param {number} value @param {number} decimals */
const fixed = (value, decimals) =>
  value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
/** @param {number} value */
const seconds = (value) => `${fixed(value, value < 10 ? 2 : 1)} s`;
/** @param {number} low @param {number} value @param {number} high */
const clamp = (low, value, high) => Math.max(low, Math.min(high, value));

/** @param {number} extent @param {number} count: a round step giving at most about `count` ticks */
function roundStep(extent, count) {
  const power = 10 ** Math.floor(Math.log10(Math.max(extent, 1e-6) / count));
  return power * ([1, 2, 5, 10].find((step) => extent / (step * power) <= count) || 10);
}

/** Call back once per frame of the screen, however often it is asked for. @param {() => void} work */
function perFrame(work) {
  let isPending = false;
  return () => {
    if (isPending) return;
    isPending = true;
    requestAnimationFrame(() => { isPending = false; work(); });
  };
}

/** @type {Map<number, Promise<HTMLImageElement>>} */
const pictures = new Map();
/** @param {number} index @returns {Promise<HTMLImageElement>} */
function picture(index) {
  let loading = pictures.get(index);
  if (!loading) {
    const image = new Image();
    image.src = data.images[index];
    loading = image.decode().then(() => image);
    pictures.set(index, loading);
  }
  return loading;
}

// --- geometry and colour ------------------------------------------------------------------------------------------

/**
 * The epipolar line a x + b y + c = 0 in the other image of a position in image `side`: F01 x0, or F01' x1.
 * @param {number[]} F row-major @param {number} side @param {number} x @param {number} y
 */
function epipolarLine(F, side, x, y) {
  return side === 0
    ? [F[0] * x + F[1] * y + F[2], F[3] * x + F[4] * y + F[5], F[6] * x + F[7] * y + F[8]]
    : [F[0] * x + F[3] * y + F[6], F[1] * x + F[4] * y + F[7], F[2] * x + F[5] * y + F[8]];
}

/** Where a line crosses the border of an image of this size: [xa, ya, xb, yb] in its pixels, or null.
 * @param {number[]} line @param {number[]} size */
function clipLine([a, b, c], [width, height]) {
  const [left, top, right, bottom] = [-0.5, -0.5, width - 0.5, height - 0.5];
  const ends = [];
  for (const x of [left, right]) if (b) { const y = -(a * x + c) / b; if (y >= top && y <= bottom) ends.push([x, y]); }
  for (const y of [top, bottom]) if (a) { const x = -(b * y + c) / a; if (x > left && x < right) ends.push([x, y]); }
  return ends.length < 2 ? null : [...ends[0], ...ends[1]];
}

const CORNERS = [[60, 190, 245], [250, 215, 60], [190, 100, 240], [245, 90, 50]]; // of the points: neighbours look alike
const RAMP = [[217, 242, 239], [242, 193, 78], [209, 67, 43]]; // residual 0, 1, 2 px and more
/** @param {number[]} a @param {number[]} b @param {number} t */
const mix = (a, b, t) => a.map((value, i) => value + (b[i] - value) * t);

/** @type {WeakMap<Pair, number[]>} */
const extents = new WeakMap();
/** @param {Pair} pair @returns {number[]} left, top, right, bottom of its points in image 0, as they are stored */
function extentOf(pair) {
  let extent = extents.get(pair);
  if (!extent) {
    const xs = pair.points.filter((_, k) => k % 4 === 0);
    const ys = pair.points.filter((_, k) => k % 4 === 1);
    extent = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    extents.set(pair, extent);
  }
  return extent;
}

/** @param {Pair} pair @param {number} i @returns {string} */
function colourOf(pair, i) {
  let rgb;
  if (look.colour === "residual") {
    const t = Math.min(pair.residuals[i] / 100, 2);
    rgb = t < 1 ? mix(RAMP[0], RAMP[1], t) : mix(RAMP[1], RAMP[2], t - 1);
  } else {
    const [left, top, right, bottom] = extentOf(pair);
    const u = (pair.points[4 * i] - left) / Math.max(1, right - left);
    const v = (pair.points[4 * i + 1] - top) / Math.max(1, bottom - top);
    const mixed = mix(mix(CORNERS[0], CORNERS[1], u), mix(CORNERS[2], CORNERS[3], u), v);
    const grey = (mixed[0] + mixed[1] + mixed[2]) / 3;
    rgb = mixed.map((value) => clamp(0, grey + 1.6 * (value - grey), 255)); // mixing dulls colours
  }
  return `rgb(${rgb.map(Math.round).join(" ")})`;
}

// --- one pair on one canvas ---------------------------------------------------------------------------------------

/** Two panes with the frames of a pair and what corresponds in them. Zoomable and pannable if asked for. */
class PairView {
  /** @param {HTMLCanvasElement} canvas @param {(text: string) => void} say: called with what is hovered */
  constructor(canvas, say = () => {}) {
    this.canvas = canvas;
    this.say = say;
    /** @type {Pair | null} */ this.pair = null;
    /** @type {HTMLImageElement[]} */ this.images = [];
    /** @type {Pane[]} */ this.panes = [];
    /** @type {Zoom[]} */ this.zooms = [];
    /** @type {{index: number, side: number} | null} */ this.hover = null;
    this.redraw = perFrame(() => this.draw());
    canvas.addEventListener("pointermove", (event) => this.hoverAt(event.offsetX, event.offsetY));
    canvas.addEventListener("pointerleave", () => this.highlight(null));
  }

  /** @param {Pair} pair */
  async show(pair) {
    this.pair = pair;
    this.highlight(null);
    this.canvas.setAttribute("aria-label", describe(pair));
    const images = await Promise.all(pair.images.map(picture));
    if (this.pair !== pair) return; // another one was asked for meanwhile
    this.images = images;
    this.layout();
  }

  /** Place the panes side by side, or one above the other where that shows them larger. */
  layout() {
    if (!this.pair || !this.images.length) return;
    const gap = 3;
    const width = this.canvas.clientWidth;
    const [[w0, h0], [w1, h1]] = this.pair.sizes;
    const isFree = this.canvas.dataset.fit !== "both"; // the height follows from the width
    const height = isFree ? Infinity : this.canvas.clientHeight;
    const beside = Math.min((width - gap) / (w0 + w1), height / Math.max(h0, h1));
    const stacked = Math.min(width / Math.max(w0, w1), (height - gap) / (h0 + h1));
    const isStacked = isFree ? w0 > 2.2 * h0 || (w0 > h0 && width < 380) : stacked > beside;
    const scale = isStacked ? stacked : beside;
    const total = isStacked ? (h0 + h1) * scale + gap : Math.max(h0, h1) * scale;
    if (isFree) this.canvas.style.height = `${total}px`;
    const top = isFree ? 0 : (height - total) / 2;
    const left = (width - (isStacked ? Math.max(w0, w1) * scale : (w0 + w1) * scale + gap)) / 2;
    this.panes = [
      { x: left, y: top, width: w0 * scale, height: h0 * scale },
      { x: isStacked ? left : left + w0 * scale + gap, y: isStacked ? top + h0 * scale + gap : top,
        width: w1 * scale, height: h1 * scale },
    ];
    this.fit();
  }

  fit() {
    if (!this.pair) return;
    this.zooms = this.panes.map((pane, side) =>
      ({ scale: pane.width / /** @type {Pair} */ (this.pair).sizes[side][0], x: pane.x, y: pane.y }));
    this.redraw();
  }

  /** @param {number} side @param {number} i @returns {number[]} position of correspondence i on the canvas */
  screen(side, i) {
    const { scale, x, y } = this.zooms[side];
    const points = /** @type {Pair} */ (this.pair).points;
    return [x + scale * (points[4 * i + 2 * side] / 100 + 0.5), y + scale * (points[4 * i + 2 * side + 1] / 100 + 0.5)];
  }

  /** @param {number} x @param {number} y @returns {number} 0, 1, or -1 outside both */
  sideAt(x, y) {
    return this.panes.findIndex((p) => x >= p.x && y >= p.y && x < p.x + p.width && y < p.y + p.height);
  }

  /** @param {number} side @param {number} x @param {number} y @param {number} radius @returns {number} index or -1 */
  nearest(side, x, y, radius) {
    let best = -1;
    let bound = radius * radius;
    for (let i = 0; this.pair && i < this.pair.residuals.length; i++) {
      const [u, v] = this.screen(side, i);
      const distance = (u - x) ** 2 + (v - y) ** 2;
      if (distance < bound) [best, bound] = [i, distance];
    }
    return best;
  }

  /** @param {number} x @param {number} y */
  hoverAt(x, y) {
    if (!this.zooms.length) return;
    const side = this.sideAt(x, y);
    const index = side < 0 ? -1 : this.nearest(side, x, y, 14);
    this.highlight(index < 0 ? null : { index, side });
  }

  /** @param {{index: number, side: number} | null} hover */
  highlight(hover) {
    if (hover?.index === this.hover?.index && hover?.side === this.hover?.side) return;
    this.hover = hover;
    const line = this.hoverLine();
    // What is shown, for those who do not see it; and for tests.
    if (hover) this.canvas.dataset.hover = JSON.stringify({ ...hover, line });
    else delete this.canvas.dataset.hover;
    this.say(hover && this.pair ? describePoint(this.pair, hover.index) : "");
    this.redraw();
  }

  /** @returns {number[] | null} ends of the epipolar line of the hovered point, pixels of the other image */
  hoverLine() {
    if (!this.hover || !this.pair) return null;
    const { index, side } = this.hover;
    const x = this.pair.points[4 * index + 2 * side] / 100;
    const y = this.pair.points[4 * index + 2 * side + 1] / 100;
    return clipLine(epipolarLine(this.pair.F01, side, x, y), this.pair.sizes[1 - side]);
  }

  /** Zoom one pane about a place of the canvas, the other alike about the mate of the nearest point.
   * @param {number} x @param {number} y @param {number} factor */
  zoomAt(x, y, factor) {
    const side = this.sideAt(x, y);
    if (side < 0 || !this.pair) return;
    const mate = this.nearest(side, x, y, Infinity);
    const anchors = mate < 0 ? [[x, y], [x, y]] : [this.screen(0, mate), this.screen(1, mate)];
    anchors[side] = [x, y];
    for (const other of [0, 1]) this.zoomPane(other, anchors[other], factor);
    this.redraw();
  }

  /** @param {number} side @param {number[]} anchor @param {number} factor */
  zoomPane(side, [x, y], factor) {
    const smallest = this.panes[side].width / /** @type {Pair} */ (this.pair).sizes[side][0];
    const zoom = this.zooms[side];
    const scale = clamp(smallest, zoom.scale * factor, 24 * smallest);
    this.pan(side, (x - zoom.x) * (1 - scale / zoom.scale), (y - zoom.y) * (1 - scale / zoom.scale), scale);
  }

  /** Move a pane's picture, never past its border. @param {number} side @param {number} dx @param {number} dy */
  pan(side, dx, dy, scale = this.zooms[side].scale) {
    const [pane, zoom] = [this.panes[side], this.zooms[side]];
    const [w, h] = /** @type {Pair} */ (this.pair).sizes[side];
    this.zooms[side] = {
      scale,
      x: clamp(pane.x + pane.width - w * scale, zoom.x + dx, pane.x),
      y: clamp(pane.y + pane.height - h * scale, zoom.y + dy, pane.y),
    };
    this.redraw();
  }

  draw() {
    if (!this.pair || !this.zooms.length) return;
    const density = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (this.canvas.width !== Math.round(width * density) || this.canvas.height !== Math.round(height * density)) {
      this.canvas.width = Math.round(width * density);
      this.canvas.height = Math.round(height * density);
    }
    const context = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, height);
    for (const side of [0, 1]) this.inPane(context, side, () => {
      const { scale, x, y } = this.zooms[side];
      const [w, h] = /** @type {Pair} */ (this.pair).sizes[side];
      context.drawImage(this.images[side], x, y, w * scale, h * scale);
      if (this.hover) {
        context.fillStyle = "rgb(0 0 0 / 0.35)";
        context.fillRect(x, y, w * scale, h * scale);
      }
    });
    this.drawCorrespondences(context);
    if (this.hover) this.drawHover(context, this.hover);
    this.canvas.dataset.ready = this.pair.name;
  }

  /** @param {CanvasRenderingContext2D} context @param {number} side @param {() => void} work */
  inPane(context, side, work) {
    const pane = this.panes[side];
    context.save();
    context.beginPath();
    context.rect(pane.x, pane.y, pane.width, pane.height);
    context.clip();
    work();
    context.restore();
  }

  /** @param {CanvasRenderingContext2D} context */
  drawCorrespondences(context) {
    const pair = /** @type {Pair} */ (this.pair);
    const isLarge = this.canvas.dataset.fit === "both";
    const radius = isLarge ? 3 : 2;
    // All lines would hide the pictures: every so many, evenly; the other points become small.
    const every = Math.max(1, Math.ceil(pair.residuals.length / (isLarge ? 90 : 50)));
    context.globalAlpha = this.hover ? 0.3 : 1;
    for (let i = 0; i < pair.residuals.length; i++) {
      const [start, end] = [this.screen(0, i), this.screen(1, i)];
      if (this.sideAt(start[0], start[1]) !== 0 || this.sideAt(end[0], end[1]) !== 1) continue;
      context.fillStyle = context.strokeStyle = colourOf(pair, i);
      const hasLine = look.draw === "lines" && i % every === 0;
      if (hasLine) {
        context.lineWidth = 1;
        context.beginPath();
        context.moveTo(start[0], start[1]);
        context.lineTo(end[0], end[1]);
        context.stroke();
      }
      for (const [x, y] of [start, end]) disc(context, x, y, hasLine || look.draw === "dots" ? radius : radius - 1);
    }
    context.globalAlpha = 1;
  }

  /** @param {CanvasRenderingContext2D} context @param {{index: number, side: number}} hover */
  drawHover(context, { index, side }) {
    const line = this.hoverLine();
    const other = 1 - side;
    const { scale, x, y } = this.zooms[other];
    if (line) this.inPane(context, other, () => {
      for (const [colour, width] of /** @type {[string, number][]} */ ([["#000", 4], ["#ffd84d", 2]])) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.beginPath();
        context.moveTo(x + scale * (line[0] + 0.5), y + scale * (line[1] + 0.5));
        context.lineTo(x + scale * (line[2] + 0.5), y + scale * (line[3] + 0.5));
        context.stroke();
      }
    });
    for (const place of [0, 1]) this.inPane(context, place, () => {
      const [u, v] = this.screen(place, index);
      context.fillStyle = colourOf(/** @type {Pair} */ (this.pair), index);
      disc(context, u, v, 4);
      context.strokeStyle = "#fff";
      context.lineWidth = 2;
      context.beginPath();
      context.arc(u, v, 8, 0, 7);
      context.stroke();
    });
  }
}

/** A dot with a dark rim, to be seen on any picture.
 * @param {CanvasRenderingContext2D} context @param {number} x @param {number} y @param {number} radius */
function disc(context, x, y, radius) {
  const colour = context.fillStyle;
  context.fillStyle = "rgb(0 0 0 / 0.7)";
  context.beginPath();
  context.arc(x, y, radius + 0.8, 0, 7);
  context.fill();
  context.fillStyle = colour;
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.fill();
}

/** @param {Pair} pair */
const describe = (pair) =>
  `Frames ${pair.frames[0]} and ${pair.frames[1]}, ${seconds(pair.quality.interval_seconds)} apart, ` +
  `${fixed(pair.quality.num_correspondences, 0)} correspondences, ${pair.tags.join(", ")}`;

/** @param {Pair} pair @param {number} i */
function describePoint(pair, i) {
  const [x0, y0, x1, y1] = pair.points.slice(4 * i, 4 * i + 4).map((value) => fixed(value / 100, 1));
  return `Correspondence ${i + 1} of ${pair.residuals.length} drawn\n(${x0}, ${y0}) ↔ (${x1}, ${y1})\n` +
    `${fixed(pair.residuals[i] / 100, 2)} px from the epipolar lines`;
}
