// Plays a moment of footage: at its second, with the box of the face and the camera's privacy masks over it.

/** Whether the browser says that it plays an FFmpeg codec in MP4; codecs that are not listed are tried. */
const TYPES = {
  h264: 'video/mp4; codecs="avc1.640028"',
  hevc: 'video/mp4; codecs="hvc1.1.6.L120.90"',
  av1: 'video/mp4; codecs="av01.0.08M.08"',
  vp9: 'video/mp4; codecs="vp09.00.41.08"',
};
/** A box is shown as long before and after the crop it belongs to, in milliseconds. */
const BOX_MS = 500;
/** A gap between two pieces that is told, in milliseconds. */
const GAP_MS = 2000;
const SVG = "http://www.w3.org/2000/svg";
const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export class Player {
  /** @param {HTMLElement} root of the template `footage/player.html`. It sends `moment` events with -1 and 1. */
  constructor(root) {
    this.root = root;
    this.texts = JSON.parse(root.dataset.texts);
    const part = (name) => root.querySelector(`[data-${name}]`);
    this.video = part("video");
    this.over = part("over");
    this.note = part("note");
    this.kept = part("kept");
    this.screen = part("screen");
    this.controls = part("controls");
    this.place = part("place");
    this.clock = part("clock");
    this.asked = 0;
    this.#listen();
  }

  /**
   * Play what an address of the API tells.
   * @param {string} address of the API that answers a piece of footage.
   * @param {{crop?: string|null, moves?: boolean}} more the picture to be shown where the footage is gone, and whether
   *     there are other moments to go to.
   */
  async show(address, { crop = null, moves = false } = {}) {
    const asked = (this.asked += 1);
    this.begun = performance.now();
    this.crop = crop;
    delete this.root.dataset.seekMs;
    this.video.pause();
    this.#say(this.texts.loading);
    for (const name of ["previous", "next"]) this.#button(name).hidden = !moves;
    let answer;
    try {
      answer = await fetch(address);
    } catch {
      if (asked === this.asked) this.#fail(this.texts.broken);
      return;
    }
    if (asked !== this.asked) return; // somebody chose another moment meanwhile
    if (answer.status === 404) return this.#fail(crop ? this.texts.gone : this.texts.gone_all);
    if (!answer.ok) return this.#fail(this.texts.broken);
    const footage = await answer.json();
    const started = Date.parse(footage.started_at);
    this.marks = footage.boxes.map((one) => ({ at: started + one.at_s * 1000, box: one.box }));
    this.moment = { segment: footage, offset: footage.offset_s };
    this.#button("moment").hidden = false;
    this.#load(footage, footage.offset_s);
  }

  /** Stop, and let go of the file. */
  stop() {
    this.asked += 1;
    this.video.pause();
    this.footage = null;
    this.video.removeAttribute("src");
    this.video.load();
    this.over.replaceChildren();
  }

  #load(footage, offset) {
    const same = this.footage?.url === footage.url && this.video.readyState >= 1;
    this.footage = footage;
    this.started = Date.parse(footage.started_at);
    if (TYPES[footage.codec] && !this.video.canPlayType(TYPES[footage.codec])) {
      return this.#fail(this.texts.codec.replace("{}", footage.codec.toUpperCase()));
    }
    this.#reveal(true);
    this.offset = offset;
    if (same) this.#seek();
    else this.video.src = footage.url;
  }

  #seek() {
    this.video.currentTime = this.offset;
    this.video.addEventListener("seeked", () => {
      this.root.dataset.seekMs = Math.round(performance.now() - this.begun);
      this.#say("");
    }, { once: true });
    // Refused where nobody has clicked yet: then one has to.
    this.video.play().catch(() => this.#say(""));
  }

  #fail(text) {
    this.stop();
    this.#button("moment").hidden = true;
    this.#say(text);
    this.#reveal(false);
    this.kept.replaceChildren();
    if (this.crop) {
      const image = new Image();
      image.src = this.crop;
      image.alt = this.texts.face;
      this.kept.append(image);
    }
    this.kept.hidden = !this.crop;
    this.clock.textContent = "";
  }

  #reveal(playing) {
    this.screen.hidden = !playing;
    this.place.hidden = !playing;
    this.kept.hidden = playing;
    for (const name of ["back", "toggle", "forth", "whole"]) this.#button(name).hidden = !playing;
  }

  #say(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }

  #button(name) {
    return this.root.querySelector(`[data-do=${name}]`);
  }

  #listen() {
    const { video } = this;
    video.addEventListener("loadedmetadata", () => {
      this.place.max = Number.isFinite(video.duration) ? video.duration : 60;
      this.over.setAttribute("viewBox", `0 0 ${video.videoWidth} ${video.videoHeight}`);
      this.screen.style.setProperty("--ratio", video.videoWidth / video.videoHeight);
      this.#seek();
    });
    video.addEventListener("durationchange", () => {
      if (Number.isFinite(video.duration)) this.place.max = video.duration;
    });
    for (const kind of ["timeupdate", "seeked", "loadeddata"]) video.addEventListener(kind, () => this.#draw());
    video.addEventListener("play", () => { this.#toggled(); this.#follow(); });
    video.addEventListener("pause", () => this.#toggled());
    video.addEventListener("ended", () => this.#goOn());
    video.addEventListener("error", () => { if (this.footage) this.#fail(this.texts.broken); });
    video.addEventListener("click", () => this.do("toggle"));
    this.place.addEventListener("input", () => { video.currentTime = Number(this.place.value); });
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (button) this.do(button.dataset.do);
    });
  }

  /** What a button or a key asks for. */
  do(what) {
    const { video } = this;
    if (what === "previous" || what === "next") {
      const detail = what === "next" ? 1 : -1;
      this.root.dispatchEvent(new CustomEvent("moment", { detail, bubbles: true }));
    }
    if (!this.footage) return;
    if (what === "toggle") {
      if (video.paused) video.play().catch(() => {});
      else video.pause();
    }
    if (what === "back") video.currentTime = Math.max(0, video.currentTime - 1);
    if (what === "forth") {
      if (video.currentTime + 1 < video.duration) video.currentTime += 1;
      else this.#goOn();
    }
    if (what === "moment") {
      this.begun = performance.now();
      this.#load(this.moment.segment, this.moment.offset);
    }
    // The whole screen for what is over the video, too: the masks among it.
    if (what === "whole") {
      if (document.fullscreenElement) document.exitFullscreen();
      else this.screen.requestFullscreen();
    }
  }

  /** Listen to keys, as long as nothing that takes them has the focus. */
  listenToKeys(element) {
    element.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || element.closest("dialog:not([open])")) return;
      const takes = event.target.closest("input, select, textarea");
      const presses = event.target.closest("button, a, summary");
      const what = { " ": "toggle", ArrowLeft: "back", ArrowRight: "forth", n: "next", p: "previous" }[event.key];
      if (!what || takes || (event.key === " " && presses)) return;
      if ((what === "next" || what === "previous") && this.#button(what).hidden) return;
      event.preventDefault();
      this.do(what);
    });
  }

  #toggled() {
    this.#button("toggle").textContent = this.video.paused ? this.texts.play : this.texts.pause;
  }

  async #goOn() {
    const asked = this.asked;
    const before = this.footage;
    const answer = await fetch(`/api/v1/footage/${before.segment}/next`).catch(() => null);
    if (asked !== this.asked || this.footage !== before) return;
    if (!answer?.ok) return this.#say(this.texts.end);
    const next = await answer.json();
    const gap = Date.parse(next.started_at) - Date.parse(before.ended_at);
    this.begun = performance.now();
    this.#load(next, 0);
    if (gap > GAP_MS) {
      const length = `${Math.round(gap / 1000)} s`;
      this.video.addEventListener("seeked", () => {
        this.#say(this.texts.gap.replace("{}", length).replace("{}", clock.format(this.started)));
      }, { once: true });
    }
  }

  #follow() {
    this.#draw();
    if (!this.video.paused && this.footage) requestAnimationFrame(() => this.#follow());
  }

  #draw() {
    const { video, over } = this;
    if (!this.footage || !video.videoWidth) return over.replaceChildren();
    const now = this.started + video.currentTime * 1000;
    this.clock.textContent = clock.format(now);
    this.place.value = video.currentTime;
    this.place.setAttribute("aria-valuetext", this.clock.textContent);
    const shapes = this.footage.masks.map((points) => shape("polygon", {
      class: "mask",
      points: points.map(([x, y]) => `${x * video.videoWidth},${y * video.videoHeight}`).join(" "),
    }));
    const near = this.marks
      .filter((mark) => Math.abs(mark.at - now) <= BOX_MS)
      .sort((a, b) => Math.abs(a.at - now) - Math.abs(b.at - now))[0];
    if (near) {
      const [x1, y1, x2, y2] = near.box;
      const box = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
      shapes.push(shape("rect", { class: "under", ...box }), shape("rect", { class: "box", ...box }));
    }
    over.replaceChildren(...shapes);
  }
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
