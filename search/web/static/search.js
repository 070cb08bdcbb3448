// Search by face. The photo is a file of this page alone: it is sent with each search and stored nowhere. Results are
// filtered here; only a search asks the server.

import { Player } from "/static/player.js";
import { Timeline } from "/static/timeline.js";

const page = document.querySelector("#searching");
const texts = JSON.parse(page.dataset.texts);
const part = (name, root = document) => root.querySelector(`[data-${name}]`);
const all = (name, root = document) => [...root.querySelectorAll(`[data-${name}]`)];
const fill = (text, ...values) => values.reduce((made, value) => made.replace("{}", () => value), text);
const whole = new Intl.NumberFormat(document.documentElement.lang || undefined, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(document.documentElement.lang || undefined, { maximumSignificantDigits: 2 });
const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const timeOnly = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const MARGIN = 0.04;

const ask = document.querySelector("#ask");
const narrow = document.querySelector("#narrow");
const reason = ask.elements.reason;
const slider = part("slider");
const levels = Object.fromEntries(all("level").map((one) => [one.dataset.level, Number(one.dataset.at)]));
const points = JSON.parse(page.dataset.points); // [cosine, share of strangers that reach it]

const files = new Map(); // list item -> file
let from = null; // what is searched with where there is no photo: {kind, id, name, picture}
let searchedWith = null; // what the results belong to, to be searched with again
let found = null; // the answer
let span = null; // [from, until] in milliseconds, each may be null
const picked = new Set(); // ids of sightings to be exported
let shown = []; // the results that pass the filters, in the order of the page
let current = null; // the result in the player

// Who: photos, a sighting or a target

const input = part("photos");
input.addEventListener("change", () => { look([...input.files]); input.value = ""; });
const drop = part("drop");
for (const kind of ["dragenter", "dragover"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => { event.preventDefault(); look([...event.dataTransfer.files]); });

async function look(chosen) {
  startFrom(null);
  for (const file of chosen) {
    const item = document.createElement("li");
    item.className = "sent";
    item.textContent = fill(texts.looking, file.name);
    part("sent").append(item);
    files.set(item, file);
    const body = new FormData();
    body.append("photos", file);
    const answer = await send("/search/faces", body);
    if (!answer?.ok) { files.delete(item); item.remove(); if (answer) fault(answer.text); continue; }
    const made = document.createElement("template");
    made.innerHTML = answer.text;
    const face = made.content.querySelector("li");
    files.delete(item);
    item.replaceWith(face);
    if (!face.querySelector("[data-refused]")) files.set(face, file);
    offerChoice(face);
    part("leave", face).addEventListener("click", () => { files.delete(face); face.remove(); input.focus(); });
  }
}

function offerChoice(item) {
  const name = `face-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  const choices = all("choice", item);
  const mark = (number) => {
    for (const box of item.querySelectorAll("rect")) box.classList.toggle("chosen", box.dataset.face === number);
  };
  for (const choice of choices) {
    choice.name = name;
    choice.addEventListener("change", () => mark(choice.value));
  }
  for (const box of item.querySelectorAll("rect")) {
    box.addEventListener("click", () => {
      const choice = choices.find((one) => one.value === box.dataset.face);
      if (choice) { choice.checked = true; mark(choice.value); }
    });
  }
}

function startFrom(what) {
  from = what;
  part("from").hidden = !what;
  if (!what) return;
  files.clear();
  part("sent").replaceChildren();
  part("from-name").textContent = what.name || texts.this_face;
  const picture = part("from-picture");
  picture.hidden = !what.picture;
  if (what.picture) picture.src = what.picture;
}
part("from-leave").addEventListener("click", () => { startFrom(null); input.focus(); });

/** What is to be searched with, as a form; null, with a word to the user, if that is not known yet. */
function who() {
  const body = new FormData();
  if (from) body.append(from.kind, from.id);
  for (const [item, file] of files) {
    const choices = all("choice", item);
    const choice = choices.find((one) => one.checked);
    if (choices.length && !choice) { fault(texts.face_first); choices[0].focus(); return null; }
    body.append("photos", file);
    body.append("face", choice?.value ?? "");
  }
  if (!from && !files.size) { fault(texts.photo_first); input.focus(); return null; }
  return body;
}

// The search

reason.value = sessionStorage.getItem("search-reason") ?? "";
reason.addEventListener("change", () => sessionStorage.setItem("search-reason", reason.value));
ask.addEventListener("submit", (event) => {
  event.preventDefault();
  const body = who();
  if (body) search(body);
});
part("again").addEventListener("click", () => { if (ask.reportValidity() && searchedWith) search(searchedWith); });

async function search(body) {
  fault("");
  sessionStorage.setItem("search-reason", reason.value);
  const sent = new FormData();
  for (const [name, value] of body) sent.append(name, value);
  sent.append("reason", reason.value);
  sent.append("min_score", page.dataset.floor);
  sent.append("limit", page.dataset.limit);
  if (span?.[0] != null) sent.append("since", new Date(span[0]).toISOString());
  if (span?.[1] != null) sent.append("until", new Date(span[1]).toISOString());
  for (const camera of tickedCameras() ?? []) sent.append("cameras", camera);
  const buttons = [ask.querySelector("button.primary"), part("again")];
  for (const button of buttons) button.disabled = true;
  part("found").hidden = false;
  part("before").hidden = true;
  part("summary").textContent = texts.searching;
  const answer = await send("/api/v1/search", sent);
  for (const button of buttons) button.disabled = false;
  if (!answer?.ok) {
    part("found").hidden = !found;
    part("before").hidden = Boolean(found);
    if (found) apply();
    if (answer) fault(answer.text);
    part("again").disabled = !searchedWith;
    return;
  }
  searchedWith = body;
  show(JSON.parse(answer.text));
}

/** What the server answers as text, or what it says is wrong; null, with a note, if it does not answer. */
async function send(url, body) {
  try {
    const answer = await fetch(url, { method: "POST", body, headers: { "HX-Request": "true" } });
    if (answer.status === 401) { location.assign("/sign-in?next=/search"); return null; }
    const text = await answer.text();
    if (answer.ok) return { ok: true, text };
    const isProblem = answer.headers.get("Content-Type")?.includes("json");
    const said = isProblem ? JSON.parse(text).detail : new DOMParser().parseFromString(text, "text/html").body.textContent;
    return { ok: false, text: said.trim() || texts.answer };
  } catch {
    document.dispatchEvent(new CustomEvent("htmx:sendError"));
    return null;
  }
}

function fault(text) {
  const note = part("fault");
  note.textContent = text;
  note.hidden = !text;
  if (text) note.scrollIntoView({ block: "nearest" });
}

// What was found

function show(answer) {
  found = answer;
  for (const one of found.results) {
    one.from = Date.parse(one.start);
    one.to = Date.parse(one.end);
    one.when = Date.parse(one.best);
  }
  found.byId = new Map(found.results.map((one) => [one.sighting, one]));
  picked.clear();
  listCameras();
  build();
  const figures = [fill(texts.searched, whole.format(found.searched), whole.format(found.elapsed_ms))];
  if (found.waiting) figures.push(fill(texts.waiting, whole.format(found.waiting)));
  const limit = Number(page.dataset.limit);
  if (found.results.length >= limit) figures.push(fill(texts.most, whole.format(limit)));
  part("warnings").textContent = found.warnings.join(" ");
  part("warnings").hidden = !found.warnings.length;
  part("figures").textContent = figures.join(" ");
  apply();
  document.querySelector("#found").focus({ preventScroll: false });
}

/** Cameras that were removed, or came since, have results as well; and each tells how many it has. */
function listCameras() {
  const boxes = part("cameras");
  const counts = new Map();
  for (const one of found.results) counts.set(one.camera, (counts.get(one.camera) ?? 0) + 1);
  for (const one of found.results) {
    if (boxes.querySelector(`input[value="${CSS.escape(one.camera)}"]`)) continue;
    const label = document.createElement("label");
    label.className = "inline";
    const box = Object.assign(document.createElement("input"), { type: "checkbox", name: "camera", value: one.camera, checked: true });
    const name = document.createElement("span");
    name.textContent = one.camera_name;
    const count = Object.assign(document.createElement("span"), { className: "hint" });
    count.dataset.count = "";
    label.append(box, " ", name, " ", count);
    boxes.append(label);
  }
  for (const box of boxes.querySelectorAll("input")) part("count", box.parentElement).textContent = counts.get(box.value) ?? "";
}

/** Cards are made once and then only shown or hidden. */
function build() {
  for (const one of found.results) {
    const card = part("one").content.firstElementChild.cloneNode(true);
    one.card = card;
    const open = card.querySelector(".open");
    if (one.crop) {
      const image = Object.assign(new Image(), { src: one.crop, alt: "", loading: "lazy", className: "face" });
      open.replaceChildren(image);
    }
    open.setAttribute("aria-label", `${texts.play}: ${title(one)}`);
    open.addEventListener("click", () => openMoment(one));
    const tag = card.querySelector(".tag");
    tag.textContent = texts[levelOf(one.score)];
    tag.classList.toggle("accent", levelOf(one.score) === "very_alike");
    card.querySelector(".value").textContent = one.score.toFixed(2);
    card.querySelector(".when").textContent = timeOnly.format(one.when);
    const box = card.querySelector(".pick input");
    box?.setAttribute("aria-label", `${texts.choose}: ${title(one)}`);
    box?.addEventListener("change", () => {
      if (box.checked) picked.add(one.sighting);
      else picked.delete(one.sighting);
      count();
    });
  }
  found.stays = found.visits.map((visit) => {
    const results = visit.sightings.map((id) => found.byId.get(id));
    const section = part("visit").content.firstElementChild.cloneNode(true);
    const first = Math.min(...results.map((one) => one.from));
    const last = Math.max(...results.map((one) => one.to));
    section.querySelector("h3").textContent = `${results[0].camera_name}, ${dateTime.formatRange(first, last)}`;
    const video = results.find((one) => one.video_name)?.video_name;
    section.querySelector(".hint").textContent = video ? fill(texts.from_video, video) : "";
    section.querySelector(".crops").append(...results.map((one) => one.card));
    return { section, results, first };
  });
  part("visits").replaceChildren(...found.stays.map((stay) => stay.section));
}

const levelOf = (score) => (score >= levels.very_alike ? "very_alike" : score >= levels.alike ? "alike" : "below");
const title = (one) => fill(texts.moment, one.camera_name, dateTime.format(one.when), one.score.toFixed(2));

// Filters: camera, time, score, all of them without the server

function tickedCameras() {
  const boxes = [...part("cameras").querySelectorAll("input")];
  return boxes.every((box) => box.checked) ? null : boxes.filter((box) => box.checked).map((box) => box.value);
}

function apply() {
  const least = Number(slider.value);
  part("score").textContent = least.toFixed(2);
  explain(least);
  if (!found) return;
  const ticked = tickedCameras();
  const passes = (one) => one.score >= least - 1e-9 && (!ticked || ticked.includes(one.camera))
    && (span?.[0] == null || one.to >= span[0]) && (span?.[1] == null || one.from <= span[1]);
  for (const one of found.results) {
    one.passes = passes(one);
    one.card.hidden = !one.passes;
    if (!one.passes && picked.delete(one.sighting)) one.card.querySelector(".pick input").checked = false;
  }
  order();
  for (const stay of found.stays) stay.section.hidden = !stay.results.some((one) => one.passes);
  shown = found.stays.flatMap((stay) => stay.results).filter((one) => one.passes);
  const cameras = new Set(shown.map((one) => one.camera)).size;
  part("summary").textContent = shown.length ? fill(texts.shown, shown.length, found.results.length, cameras) : texts.none;
  count();
  draw(ticked, least);
}

function order() {
  const best = (stay) => Math.max(...stay.results.filter((one) => one.passes).map((one) => one.score), -1);
  const byTime = part("order").value === "time";
  const sorted = [...found.stays].sort((a, b) => (byTime ? a.first - b.first : best(b) - best(a) || a.first - b.first));
  if (sorted.some((stay, number) => stay !== found.stays[number])) {
    found.stays = sorted;
    part("visits").append(...sorted.map((stay) => stay.section));
  }
}
part("order").addEventListener("change", apply);

const timeline = new Timeline(part("timeline"), {
  onSpan: (begin, end) => setSpan([Math.floor(begin / 1000) * 1000, Math.ceil(end / 1000) * 1000]),
  onPick: ({ mark }) => { if (mark) openMoment(found.byId.get(mark.id)); },
});

function draw(ticked, least) {
  const inLanes = found.results.filter((one) => (!ticked || ticked.includes(one.camera)) && one.score >= least - 1e-9);
  const names = new Map(inLanes.map((one) => [one.camera, one.camera_name]));
  const times = inLanes.length ? inLanes : found.results;
  let begin = Math.min(...times.map((one) => one.from));
  let end = Math.max(...times.map((one) => one.to));
  if (!times.length) [begin, end] = [Date.now() - 3600000, Date.now()];
  const margin = Math.max(10000, (end - begin) * MARGIN);
  const floor = Number(slider.min);
  const lanes = [...names].sort((a, b) => a[1].localeCompare(b[1])).map(([id, name]) => ({
    id, name,
    marks: inLanes.filter((one) => one.camera === id).sort((a, b) => a.score - b.score).map((one) => ({
      id: one.sighting, from: one.from, to: one.to, faded: !one.passes, title: title(one),
      strength: Math.min(1, Math.max(0, (one.score - floor) / (0.9 - floor))),
    })),
  }));
  const label = fill(texts.timeline, shown.length, lanes.length, dateTime.format(begin), dateTime.format(end));
  const chosen = span && [span[0] ?? begin - margin, span[1] ?? end + margin];
  part("timeline").hidden = !lanes.length;
  timeline.show({ lanes, from: begin - margin, to: end + margin, span: chosen, label });
}

function setSpan(chosen) {
  span = chosen;
  part("from-time").value = chosen?.[0] != null ? local(chosen[0]) : "";
  part("until-time").value = chosen?.[1] != null ? local(chosen[1]) : "";
  apply();
}

function local(at) {
  const zone = new Date(at).getTimezoneOffset() * 60000;
  return new Date(at - zone).toISOString().slice(0, 19);
}

for (const box of [part("from-time"), part("until-time")]) {
  box.addEventListener("change", () => {
    const times = [part("from-time"), part("until-time")].map((one) => (one.value ? new Date(one.value).getTime() : null));
    span = times.some((at) => at != null) ? times : null;
    apply();
  });
}
part("cameras").addEventListener("change", apply);
part("all").addEventListener("click", anywhere);
slider.addEventListener("input", apply);
for (const button of all("level")) {
  button.addEventListener("click", () => { slider.value = Math.ceil(Number(button.dataset.at) * 100) / 100; apply(); });
}
narrow.addEventListener("submit", (event) => event.preventDefault());

function anywhere() {
  for (const box of part("cameras").querySelectorAll("input")) box.checked = true;
  setSpan(null);
}

/** What the score stands for: the share of strangers that reach it, by the model's measured points. */
function explain(least) {
  let pair = points.findIndex(([score]) => least <= score);
  if (pair <= 0) pair = pair === 0 ? 1 : points.length - 1;
  const [[low, lowRate], [high, highRate]] = points.length > 1 ? [points[pair - 1], points[pair]] : [points[0], points[0]];
  const share = high === low ? 0 : (least - low) / (high - low);
  const rate = Math.min(1, Math.max(1e-9, 10 ** (Math.log10(lowRate) + share * Math.log10(highRate / lowRate))));
  const one = short.format(1 / rate);
  part("means").textContent = found
    ? fill(texts.rate, one, least.toFixed(2), whole.format(found.searched), short.format(rate * found.searched))
    : fill(texts.rate_before, one, least.toFixed(2));
}

// The moment

const dialog = document.querySelector("#moment");
const player = new Player(part("player", dialog));
player.listenToKeys(dialog);
part("close", dialog).addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => { player.stop(); current?.card.querySelector(".open").focus(); });
dialog.addEventListener("moment", (event) => {
  const next = shown[shown.indexOf(current) + event.detail];
  if (next) openMoment(next);
});

function openMoment(one) {
  current = one;
  const fact = (name, text) => {
    const value = dialog.querySelector(`[data-fact=${name}]`);
    value.textContent = text;
    value.hidden = value.previousElementSibling.hidden = !text;
  };
  dialog.querySelector("#moment-title").textContent = `${one.camera_name}, ${dateTime.format(one.when)}`;
  fact("camera", one.camera_name);
  fact("seen", dateTime.formatRange(one.from, one.to));
  fact("score", `${one.score.toFixed(2)} (${texts[levelOf(one.score)]})`);
  fact("video", one.video_name);
  const enrol = part("enrol", dialog);
  if (enrol) enrol.href = `/sightings/${one.sighting}/enrol`;
  const around = part("around", dialog);
  if (around) around.href = `/sightings/${one.sighting}/play`;
  if (!dialog.open) dialog.showModal();
  player.show(`/api/v1/sightings/${one.sighting}/footage`, { crop: one.crop, moves: shown.length > 1 });
}

part("pivot", dialog).addEventListener("click", () => {
  startFrom({ kind: "sighting", id: current.sighting, name: title(current), picture: current.crop });
  dialog.close();
  anywhere();
  if (ask.reportValidity()) search(who());
});

// Export

function count() {
  const bar = part("bar");
  if (!bar) return;
  bar.hidden = !picked.size;
  part("chosen").textContent = fill(texts.chosen, picked.size);
}

part("none")?.addEventListener("click", () => {
  picked.clear();
  for (const one of found.results) one.card.querySelector(".pick input").checked = false;
  count();
});
part("bar")?.addEventListener("submit", (event) => {
  const fields = [...picked].map((id) => Object.assign(document.createElement("input"), {
    type: "hidden", name: "sighting", value: `${id}:${found.byId.get(id).score}`,
  }));
  part("moments").replaceChildren(...fields);
  event.target.elements.reason.value = reason.value;
});

startFrom(JSON.parse(page.dataset.start));
apply();
