// Lanes over time: what was recorded, and what was found. Drag chooses a span; a click chooses what is nearest to it.

const SVG = "http://www.w3.org/2000/svg";
const LANE = 34;
const AXIS = 24;
/** A click chooses a mark that is at most so far away, and a drag is longer than that, in pixels. */
const REACH = 14;
const DRAG = 6;
/** Steps between the lines of the axis, in seconds. */
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800,
  604800, 1209600, 2592000];
const timeOnly = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const withSeconds = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const dayOnly = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export class Timeline {
  /**
   * @param {HTMLElement} box is filled with an SVG.
   * @param {{onSpan?: (from: number, to: number) => void, onPick?: (what: object) => void}} listeners `onPick` gets
   *     `{mark}` or `{lane, at}`.
   */
  constructor(box, { onSpan, onPick }) {
    this.box = box;
    this.onSpan = onSpan;
    this.onPick = onPick;
    this.svg = make("svg", { role: "img" });
    box.replaceChildren(this.svg);
    this.data = { lanes: [], from: 0, to: 1, span: null, label: "" };
    new ResizeObserver(() => this.#draw()).observe(box);
    this.#listen();
  }

  /**
   * @param {{lanes: {id: string, name: string, spans?: {from: number, to: number, live?: boolean}[],
   *     marks?: {id: string, from: number, to: number, strength: number, faded?: boolean, title: string}[]}[],
   *     from: number, to: number, span?: number[]|null, label: string}} data times in milliseconds, strengths in 0..1.
   */
  show(data) {
    this.data = data;
    this.#draw();
  }

  #x(at) {
    const { from, to } = this.data;
    return this.left + ((at - from) / (to - from)) * (this.width - this.left - 6);
  }

  #at(x) {
    const { from, to } = this.data;
    const share = (x - this.left) / (this.width - this.left - 6);
    return from + Math.min(1, Math.max(0, share)) * (to - from);
  }

  #draw() {
    const { lanes, label, span } = this.data;
    this.width = Math.max(240, this.box.clientWidth);
    this.narrow = this.width < 560;
    this.left = this.narrow ? 4 : 140;
    this.lane = this.narrow ? LANE + 16 : LANE;
    const bottom = lanes.length * this.lane;
    const { svg } = this;
    svg.setAttribute("viewBox", `0 0 ${this.width} ${bottom + AXIS}`);
    svg.setAttribute("width", this.width);
    svg.setAttribute("height", bottom + AXIS);
    svg.setAttribute("aria-label", label);
    svg.replaceChildren();
    this.#axis(bottom);
    lanes.forEach((lane, number) => this.#drawLane(lane, number));
    this.chosen = make("rect", { class: "chosen", y: 0, height: bottom, x: 0, width: 0 });
    svg.append(this.chosen);
    this.#choose(span);
  }

  #drawLane(lane, number) {
    const top = number * this.lane + (this.narrow ? 16 : 0);
    const base = top + LANE - 4;
    const name = make("text", { x: this.narrow ? 4 : 0, y: this.narrow ? top - 3 : top + 22, class: "name" });
    name.textContent = lane.name.length > 18 && !this.narrow ? `${lane.name.slice(0, 17)}…` : lane.name;
    name.append(titled(lane.name));
    const end = this.width - 6;
    this.svg.append(name, make("rect", { class: "lane", x: this.left, y: top + 4, width: end - this.left, height: LANE - 8 }));
    for (const one of lane.spans ?? []) {
      const x = Math.max(this.left, this.#x(one.from));
      const width = Math.max(2, Math.min(end, this.#x(one.to)) - x);
      const drawn = make("rect", { class: "recorded", x, y: top + 8, width, height: LANE - 16 });
      drawn.append(titled(one.title));
      this.svg.append(drawn);
    }
    for (const mark of lane.marks ?? []) {
      const height = 6 + mark.strength * (LANE - 14);
      const x = this.#x(mark.from);
      const width = Math.max(4, this.#x(mark.to) - x);
      const drawn = make("rect", {
        class: mark.faded ? "mark faded" : "mark", x: x - 1, y: base - height, width, height, rx: 1.5,
        "fill-opacity": mark.faded ? 0.25 : 0.45 + 0.55 * mark.strength,
      });
      drawn.dataset.mark = mark.id;
      drawn.append(titled(mark.title));
      this.svg.append(drawn);
    }
  }

  #axis(bottom) {
    const { from, to } = this.data;
    const count = Math.max(2, Math.floor((this.width - this.left) / 110));
    const step = (STEPS.find((one) => ((to - from) / 1000 / one) <= count) ?? STEPS.at(-1)) * 1000;
    const zone = new Date(from).getTimezoneOffset() * 60000;
    for (let at = Math.ceil((from - zone) / step) * step + zone; at <= to; at += step) {
      const x = this.#x(at);
      const format = step >= 86400000 ? dayOnly : step >= 60000 ? timeOnly : withSeconds;
      const date = new Date(at);
      const midnight = step < 86400000 && date.getHours() === 0 && date.getMinutes() === 0 && date.getSeconds() === 0;
      const anchor = x < this.left + 24 ? "start" : x > this.width - 30 ? "end" : "middle";
      const text = make("text", { x, y: bottom + 17, class: "tick", "text-anchor": anchor });
      text.textContent = (midnight ? dayOnly : format).format(date);
      this.svg.append(make("line", { class: "grid", x1: x, x2: x, y1: 0, y2: bottom + 4 }), text);
    }
  }

  #choose(span) {
    const from = span ? this.#x(Math.max(span[0], this.data.from)) : 0;
    this.chosen.setAttribute("x", from);
    this.chosen.setAttribute("width", span ? Math.max(0, this.#x(Math.min(span[1], this.data.to)) - from) : 0);
  }

  #listen() {
    const { svg } = this;
    const place = (event) => {
      const frame = svg.getBoundingClientRect();
      return { x: event.clientX - frame.left, y: event.clientY - frame.top };
    };
    let begun = null;
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !this.data.lanes.length) return;
      begun = place(event);
      svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointermove", (event) => {
      if (!begun || !this.onSpan) return;
      const { x } = place(event);
      if (Math.abs(x - begun.x) > DRAG) this.#choose([this.#at(Math.min(x, begun.x)), this.#at(Math.max(x, begun.x))]);
    });
    svg.addEventListener("pointercancel", () => { begun = null; this.#choose(this.data.span); });
    svg.addEventListener("pointerup", (event) => {
      if (!begun) return;
      const from = begun;
      begun = null;
      const { x, y } = place(event);
      if (this.onSpan && Math.abs(x - from.x) > DRAG) {
        this.onSpan(this.#at(Math.min(x, from.x)), this.#at(Math.max(x, from.x)));
      } else this.#click(x, y);
    });
  }

  #click(x, y) {
    const lane = this.data.lanes[Math.floor(y / this.lane)];
    if (!lane || !this.onPick) return;
    const away = (mark) => Math.max(this.#x(mark.from) - x, x - this.#x(mark.to), 0);
    const near = (lane.marks ?? []).filter((mark) => away(mark) <= REACH).sort((a, b) => away(a) - away(b))[0];
    if (near) this.onPick({ mark: near });
    else if (lane.spans) this.onPick({ lane, at: this.#at(x) });
  }
}

function make(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function titled(text) {
  const title = make("title", {});
  title.textContent = text ?? "";
  return title;
}
