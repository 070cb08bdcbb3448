// The page of one moment, and looking around in what was recorded on a day.

import { Player } from "/static/player.js";
import { Timeline } from "/static/timeline.js";

const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const timeOnly = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const fill = (text, ...values) => values.reduce((made, value) => made.replace("{}", () => value), text);

const player = document.querySelector("[data-player]") && new Player(document.querySelector("[data-player]"));
player?.listenToKeys(document.body);

const moment = document.querySelector("[data-play]");
if (moment) player.show(moment.dataset.play, { crop: moment.dataset.crop || null });

const page = document.querySelector("#browse");
if (page) browse();

function browse() {
  const texts = JSON.parse(page.dataset.texts);
  const wanted = JSON.parse(page.dataset.moment);
  const form = page.querySelector("form");
  const { camera, day, time } = form.elements;
  const state = page.querySelector("[data-state]");
  const playing = document.querySelector("[data-playing]");
  let lanes = [];
  const timeline = new Timeline(page.querySelector("[data-lanes]"), {
    onPick: ({ lane, at }) => {
      const span = lane.spans.find((one) => one.from <= at && at <= one.to) ?? lane.spans.find((one) => one.from > at);
      if (span) play(lane, Math.max(at, span.from), span.video);
    },
  });

  const begin = new Date(wanted.at || wanted.newest);
  day.value = new Date(begin - begin.getTimezoneOffset() * 60000).toISOString().slice(0, 10);
  if ([...camera.options].some((one) => one.value === wanted.camera)) camera.value = wanted.camera;

  const start = () => new Date(`${day.value}T00:00:00`).getTime();

  async function list() {
    if (!day.value) return;
    const from = start();
    const until = new Date(`${day.value}T00:00:00`);
    until.setDate(until.getDate() + 1); // a day may have 23 hours
    const query = new URLSearchParams({ since: new Date(from).toISOString(), until: until.toISOString() });
    if (camera.value) query.set("camera", camera.value);
    const answer = await fetch(`/api/v1/footage/lanes?${query}`).catch(() => null);
    if (!answer?.ok) { state.textContent = texts.failed; return; }
    lanes = (await answer.json()).lanes.map((lane) => ({
      id: lane.camera,
      name: lane.camera_name,
      spans: lane.spans.map((one) => {
        const [begun, ended] = [Date.parse(one.started_at), Date.parse(one.ended_at)];
        const what = one.video_name ?? texts.live;
        return { from: Math.max(begun, from), to: Math.min(ended, +until), video: one.video, title: `${timeOnly.formatRange(begun, ended)}, ${what}` };
      }),
    }));
    const label = fill(texts.lanes, lanes.length, dateTime.format(from), dateTime.format(until));
    state.textContent = lanes.length ? "" : texts.none;
    page.querySelector("[data-lanes]").hidden = !lanes.length;
    timeline.show({ lanes, from, to: +until, span: null, label });
    listSpans();
  }

  function listSpans() {
    const items = lanes.flatMap((lane) => lane.spans.map((span) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "quiet";
      button.textContent = fill(texts.play, lane.name, span.title);
      button.addEventListener("click", () => play(lane, span.from, span.video));
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
    page.querySelector("[data-spans]").replaceChildren(...items);
    page.querySelector("[data-list]").hidden = !items.length;
  }

  function play(lane, at, video) {
    const query = new URLSearchParams({ camera: lane.id, at: new Date(at).toISOString() });
    if (video) query.set("video", video);
    playing.hidden = false;
    const title = playing.querySelector("[data-title]");
    title.textContent = fill(texts.at, lane.name, dateTime.format(at));
    title.focus({ preventScroll: true });
    playing.scrollIntoView({ block: "nearest" });
    player.show(`/api/v1/footage?${query}`);
    const address = new URLSearchParams({ ...Object.fromEntries(query) });
    history.replaceState(null, "", `/footage?${address}`);
  }

  form.addEventListener("change", (event) => { if (event.target !== time) list(); });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const at = new Date(`${day.value}T${time.value || "00:00:00"}`).getTime();
    const lane = lanes.find((one) => one.spans.some((span) => span.from <= at && at <= span.to)) ?? lanes.find((one) => one.spans.some((span) => span.to >= at));
    if (!lane) { state.textContent = texts.none; return; }
    const span = lane.spans.find((one) => one.to >= at);
    play(lane, Math.max(at, span.from), span.video);
  });

  list().then(() => {
    if (!wanted.at || !wanted.camera) return;
    const lane = lanes.find((one) => one.id === wanted.camera) ?? { id: wanted.camera, name: wanted.camera };
    play(lane, Date.parse(wanted.at), wanted.video);
  });
}
