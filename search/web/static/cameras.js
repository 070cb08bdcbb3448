// The pages of cameras: figures and pictures that stay fresh, and masks drawn on the picture.
"use strict";

const REFRESH_MS = 2000;

/** Put the parts `data-live` of a fresh copy in place of the old ones, pictures only when they are loaded. */
async function refresh(root) {
  const answer = await fetch(root.dataset.refresh, { headers: { "X-Requested-With": "fetch" } });
  if (answer.redirected) return location.reload();  // the session has ended
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const keys = (part) => [...part.querySelectorAll("[data-live]")].map((one) => one.dataset.live).join();
  if (keys(fresh) !== keys(root)) {
    root.replaceChildren(...fresh.body.childNodes);
    showTimes(root);
    return;
  }
  for (const part of fresh.querySelectorAll("[data-live]")) {
    const old = root.querySelector(`[data-live="${CSS.escape(part.dataset.live)}"]`);
    if (old.dataset.html === part.innerHTML) continue;
    const html = part.innerHTML;
    const picture = part.querySelector("img");
    if (picture) {
      const loaded = new Image();
      loaded.src = picture.getAttribute("src");
      try { await loaded.decode(); } catch { continue; }
    }
    old.replaceChildren(...part.childNodes);
    old.dataset.html = html;
    showTimes(old);
  }
  fitMasks();
}

for (const root of document.querySelectorAll("[data-refresh]")) {
  let busy = false;
  setInterval(async () => {
    if (busy || document.visibilityState !== "visible") return;
    busy = true;
    try { await refresh(root); } catch { /* the next one may succeed */ } finally { busy = false; }
  }, REFRESH_MS);
}

for (const select of document.querySelectorAll("select[data-submit]")) {
  select.addEventListener("change", () => select.form.submit());
}

// ---- masks ----

const SVG = "http://www.w3.org/2000/svg";
const canvas = document.querySelector("#masks-drawn");
const text = document.querySelector("#masks-text");
const list = document.querySelector("#mask-list");
let corners = null;  // of the mask that is being drawn
let pressed = null;  // where the mouse went down

/** The layer of masks covers the picture, not the figures below it. */
function fitMasks() {
  const shot = document.querySelector(".canvas .shot");
  if (!canvas || !shot) return;
  canvas.style.height = `${shot.offsetHeight}px`;
}

/** Masks as they are written: lists of corners in percent; lines that are none are left out. */
function masks() {
  return text.value.split("\n").map((line) => line.trim().split(/\s+/).map((corner) => corner.split(",").map(Number)))
    .filter((points) => points.length >= 3 && points.every((point) => point.length === 2 && point.every(Number.isFinite)));
}

function write(all) {
  text.value = all.map((points) => points.map((point) => point.join(",")).join(" ")).join("\n");
  text.dispatchEvent(new Event("change"));
  draw();
}

function shape(kind, points) {
  const made = document.createElementNS(SVG, kind);
  made.setAttribute("points", points.map((point) => point.join(",")).join(" "));
  return made;
}

function draw() {
  const all = masks();
  const shapes = all.map((points) => shape("polygon", points));
  canvas.replaceChildren(...shapes, ...(corners ? [shape("polyline", corners)] : []));
  list?.replaceChildren(...all.map((points, index) => {
    const item = document.createElement("li");
    const label = document.createElement("span");
    label.textContent = `${points.length} ${list.dataset.corners}`;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = list.dataset.delete;
    button.setAttribute("aria-label", `${list.dataset.delete}: ${list.dataset.name} ${index + 1}`);
    button.addEventListener("click", () => {
      write(masks().filter((_, other) => other !== index));
      (list.querySelectorAll("button")[index] || list.querySelector("li:last-child button") || start).focus();
    });
    for (const [event, on] of [["pointerenter", true], ["focusin", true], ["pointerleave", false], ["focusout", false]]) {
      item.addEventListener(event, () => shapes[index].classList.toggle("chosen", on));
    }
    item.append(label, button);
    return item;
  }));
  if (finish) finish.disabled = !corners || corners.length < 3;
  if (cancel) cancel.disabled = !corners;
}

const start = document.querySelector("#mask-draw");
const finish = document.querySelector("#mask-finish");
const cancel = document.querySelector("#mask-cancel");

function drawing(on) {
  corners = on ? [] : null;
  start.setAttribute("aria-pressed", String(on));
  canvas.classList.toggle("drawing", on);
  if (on) canvas.scrollIntoView({ block: "nearest" });
  draw();
}

function end() {
  const made = corners;
  drawing(false);
  if (made && made.length >= 3) write([...masks(), made]);
  start.focus();
}

function place(event) {
  const area = canvas.getBoundingClientRect();
  const share = (value, from, size) => Math.round(Math.min(100, Math.max(0, 100 * (value - from) / size)) * 10) / 10;
  return [share(event.clientX, area.left, area.width), share(event.clientY, area.top, area.height)];
}

const rectangle = ([x1, y1], [x2, y2]) => [[x1, y1], [x2, y1], [x2, y2], [x1, y2]];
const isDrag = (from, to) => Math.abs(from[0] - to[0]) > 1.5 && Math.abs(from[1] - to[1]) > 1.5;

if (canvas && text) {
  text.addEventListener("input", draw);
  new ResizeObserver(fitMasks).observe(document.querySelector(".canvas .shot"));
  fitMasks();
  draw();
}
if (start) {
  start.addEventListener("click", () => drawing(corners === null));
  finish.addEventListener("click", end);
  cancel.addEventListener("click", () => { drawing(false); start.focus(); });
  canvas.addEventListener("pointerdown", (event) => {
    if (!corners) return;
    pressed = place(event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pressed || corners.length || !isDrag(pressed, place(event))) return;
    draw();
    canvas.append(shape("polygon", rectangle(pressed, place(event))));
  });
  canvas.addEventListener("pointerup", (event) => {
    if (!pressed) return;
    const at = place(event);
    if (!corners.length && isDrag(pressed, at)) {
      corners = rectangle(pressed, at);
      end();
    } else if (corners.length >= 3 && Math.hypot(corners[0][0] - at[0], corners[0][1] - at[1]) < 2) {
      end();
    } else {
      corners.push(at);
      draw();
    }
    pressed = null;
  });
  document.addEventListener("keydown", (event) => {
    if (!corners) return;
    if (event.key === "Escape") { drawing(false); start.focus(); }
    if (event.key === "Enter" && event.target === document.body && corners.length >= 3) end();
  });
}
