/** A sheet to draw on with a mouse, a finger, a pen or the keyboard. It keeps strokes, not pixels. */

const WIDTH = 480; // of the sheet in units of its own, whatever its size on the screen
const MARGIN = 24; // of white paper around the ink that is read
const LONGEST = 256; // pixels of a picture's longer side: more are read no better, and slower
const STEP = 12; // by which an arrow key moves the pen
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Tells "change" after each stroke, undo and clear; its detail is when the user did that. */
export class Pad extends EventTarget {
  /** How wide the brush is. */
  brush = 18;
  #canvas;
  #nib;
  #hint;
  #history = []; // strokes, each a list of points; null where all was cleared
  #stroke = null; // the one that is being drawn
  #pointer = null;
  #keys = new Set();
  #pen = { x: WIDTH / 2, y: WIDTH / 4 }; // the keyboard's

  constructor(canvas) {
    super();
    this.#canvas = canvas;
    this.#nib = canvas.parentElement.querySelector(".nib");
    this.#hint = canvas.parentElement.querySelector(".hint");
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", (event) => this.#up(event));
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("keyup", (event) => this.#keys.delete(event.key));
    canvas.addEventListener("blur", (event) => this.#leave(event));
    new ResizeObserver(() => this.#draw()).observe(canvas);
  }

  /** What is on the sheet: a list of points, each with x, y and w, for each stroke. */
  get strokes() {
    return this.#history.slice(this.#history.lastIndexOf(null) + 1);
  }

  /** The sheet's size in its own units. */
  get size() {
    return { width: WIDTH, height: WIDTH * (this.#canvas.clientHeight / this.#canvas.clientWidth || 0.75) };
  }

  /** Takes the last stroke back, or what cleared the sheet. */
  undo(event) {
    if (!this.#history.length || this.#stroke) return;
    this.#history.pop();
    this.#changed(event);
  }

  /** Takes all strokes off. */
  clear(event) {
    if (!this.strokes.length) return;
    this.#history.push(null);
    this.#changed(event);
  }

  /** Draws strokes black on white, cut to the ink: a canvas, and a function from boxes to the sheet. */
  picture(strokes = this.strokes) {
    const { left, top, right, bottom } = extent(strokes);
    const width = right - left + 2 * MARGIN, height = bottom - top + 2 * MARGIN;
    const scale = Math.min(1, LONGEST / Math.max(width, height));
    const canvas = new OffscreenCanvas(Math.ceil(width * scale), Math.ceil(height * scale));
    const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.scale(scale, scale);
    context.translate(MARGIN - left, MARGIN - top);
    strokes.forEach((stroke) => trace(context, stroke));
    const place = ([x, y, w, h]) => ({
      x: x / scale + left - MARGIN, y: y / scale + top - MARGIN, width: w / scale, height: h / scale,
    });
    return { canvas, place };
  }

  #down(event) {
    if (event.button || this.#pointer !== null || this.#stroke) return; // a second finger, the palm
    this.#canvas.setPointerCapture(event.pointerId);
    this.#pointer = event.pointerId;
    this.#nib.hidden = true;
    this.#begin(this.#point(event));
  }

  #move(event) {
    if (event.pointerId !== this.#pointer) return;
    const all = event.getCoalescedEvents?.() ?? [];
    for (const each of all.length ? all : [event]) this.#extend(this.#point(each));
  }

  #up(event) {
    if (event.pointerId !== this.#pointer) return;
    this.#pointer = null;
    this.#end(event);
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || this.#pointer !== null) return;
    if (event.key === " ") {
      event.preventDefault();
      if (event.repeat) return;
      if (this.#stroke) this.#end(event);
      else this.#begin({ ...this.#pen, w: this.brush });
    } else if (event.key in ARROWS) {
      event.preventDefault();
      this.#keys.add(event.key); // two arrows at once go aslant
      const { width, height } = this.size;
      for (const [x, y] of [...this.#keys].map((key) => ARROWS[key])) {
        this.#pen.x = within(this.#pen.x + STEP * x, width);
        this.#pen.y = within(this.#pen.y + STEP * y, height);
      }
      if (this.#stroke) this.#extend({ ...this.#pen, w: this.brush });
    } else return;
    this.#showNib();
  }

  #leave(event) {
    this.#keys.clear();
    this.#nib.hidden = true;
    if (this.#stroke && this.#pointer === null) this.#end(event);
  }

  #showNib() {
    const { width, height } = this.size;
    this.#nib.hidden = false;
    this.#nib.classList.toggle("down", this.#stroke !== null);
    this.#nib.style.left = `${(100 * this.#pen.x) / width}%`;
    this.#nib.style.top = `${(100 * this.#pen.y) / height}%`;
  }

  #begin(point) {
    this.#hint.hidden = true;
    this.#stroke = [point];
  }

  #extend(point) {
    const before = this.#stroke.at(-1);
    if (Math.hypot(point.x - before.x, point.y - before.y) < 0.5) return; // a curve needs a direction
    this.#stroke.push(point);
    segment(this.#context(), this.#stroke, this.#stroke.length - 2);
  }

  #end(event) {
    this.#history.push(this.#stroke);
    this.#stroke = null;
    this.#changed(event);
  }

  #changed(event) {
    this.#tell(event); // first, for the answer is waited for
    this.#draw();
  }

  #tell(event) {
    this.#hint.hidden = this.strokes.length > 0;
    this.dispatchEvent(new CustomEvent("change", { detail: event?.timeStamp ?? performance.now() }));
  }

  /** Where a pointer is, and how wide it writes: a pen by its pressure. */
  #point(event) {
    const box = this.#canvas.getBoundingClientRect();
    const scale = WIDTH / box.width;
    const press = event.pointerType === "pen" && event.pressure ? 0.4 + 1.2 * event.pressure : 1;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale, w: this.brush * press };
  }

  #context() {
    const context = this.#canvas.getContext("2d");
    const scale = this.#canvas.width / WIDTH;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    return context;
  }

  /** Draws all anew, as fine as the screen is. */
  #draw() {
    const { clientWidth, clientHeight } = this.#canvas;
    if (!clientWidth) return; // another tab is shown
    this.#canvas.width = Math.round(clientWidth * devicePixelRatio);
    this.#canvas.height = Math.round(clientHeight * devicePixelRatio);
    const context = this.#context();
    [...this.strokes, this.#stroke ?? []].forEach((stroke) => trace(context, stroke));
  }
}

/** A picture's grey as a PGM file: no packing, so it is there at once, where a PNG takes 3 to 20 ms. */
export function pgm(canvas) {
  const { width, height } = canvas;
  const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
  const grey = new Uint8Array(width * height);
  for (let at = 0; at < grey.length; at++) grey[at] = data[4 * at];
  return new Blob([`P5\n${width} ${height}\n255\n`, grey], { type: "image/x-portable-graymap" });
}

/** The rectangle that strokes lie in, brush and all. */
export function extent(strokes) {
  const points = strokes.flat();
  const least = (value) => points.reduce((found, point) => Math.min(found, value(point)), Infinity);
  return {
    left: least(({ x, w }) => x - w / 2),
    top: least(({ y, w }) => y - w / 2),
    right: -least(({ x, w }) => -x - w / 2),
    bottom: -least(({ y, w }) => -y - w / 2),
  };
}

const within = (value, most) => Math.max(0, Math.min(most, value));

/** Draws a stroke: as one line where it is equally wide, which has the smoother edge. */
function trace(context, stroke) {
  if (stroke.every(({ w }) => w === stroke[0].w)) lay(context, stroke, 0, stroke.length);
  else stroke.forEach((_, at) => segment(context, stroke, at));
}

/** Draws the piece of a stroke around one point. */
const segment = (context, points, at) => lay(context, points, at, at + 1);

/** Draws curves around some points, each from the middle before it to that after. */
function lay(context, points, from, to) {
  if (!points.length) return;
  const start = from > 0 ? middle(points[from - 1], points[from]) : points[from];
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = points[from].w;
  context.beginPath();
  context.moveTo(start.x, start.y);
  if (points.length === 1) context.lineTo(start.x + 0.01, start.y); // a dot
  for (let at = from; at < to; at++) {
    const end = at + 1 < points.length ? middle(points[at], points[at + 1]) : points[at];
    context.quadraticCurveTo(points[at].x, points[at].y, end.x, end.y);
  }
  context.stroke();
}

const middle = (one, other) => ({ x: (one.x + other.x) / 2, y: (one.y + other.y) / 2 });
