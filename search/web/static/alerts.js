// The alert wall: cards arrive and change by themselves, are judged by mouse or key; and the page of one alert.
"use strict";

(() => {
  const cards = document.querySelector("#cards");
  const MOST = 300; // cards kept on the page before the oldest go
  let most = MOST;

  // ---- Options, kept in this browser.
  const on = (name) => {
    const box = document.querySelector(`[data-option=${name}]`);
    return (localStorage.getItem(`alerts.${name}`) ?? box?.dataset.default ?? (name === "keys" ? "on" : "off")) === "on";
  };
  for (const box of document.querySelectorAll("[data-option]")) {
    box.checked = on(box.dataset.option);
    box.addEventListener("change", () => {
      localStorage.setItem(`alerts.${box.dataset.option}`, box.checked ? "on" : "off");
      if (box.dataset.option === "sound" && box.checked) beep();
      count();
    });
  }

  // ---- Sound, and the count in the title.
  let audio;
  function beep() {
    audio ??= new AudioContext();
    audio.resume();
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    tone.frequency.value = 880;
    volume.gain.setValueAtTime(0.15, audio.currentTime);
    volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + 0.35);
    tone.connect(volume).connect(audio.destination);
    tone.start();
    tone.stop(audio.currentTime + 0.35);
  }
  const title = document.title;
  function count() {
    const unverified = cards?.querySelectorAll(".alert[data-verdict=unverified]").length ?? 0;
    document.title = unverified && on("badge") ? `(${unverified}) ${title}` : title;
  }

  // ---- Judging.
  function open(form, verdict) {
    const button = form.querySelector(`[data-verdict=${verdict}]`);
    form.elements.verdict.value = verdict;
    if (!("ask" in button.dataset)) {
      form.requestSubmit();
      return;
    }
    const send = form.querySelector(".send");
    send.textContent = send.dataset[verdict];
    form.querySelector(".because").hidden = false;
    form.elements.reason.disabled = false;
    form.elements.reason.focus();
  }
  function close(form) {
    form.querySelector(".because").hidden = true;
    form.elements.reason.disabled = true;
    form.closest(".alert").focus();
  }
  document.addEventListener("click", (event) => {
    const form = event.target.closest("form.judge");
    if (!form) return;
    const button = event.target.closest("button");
    if (button?.dataset.verdict) open(form, button.dataset.verdict);
    if (button && "cancel" in button.dataset) close(form);
  });
  // The card that was judged is a new one now: it gets the focus back.
  let judged = "";
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.matches("form.judge")) judged = event.target.closest(".alert").id;
  });
  document.addEventListener("htmx:afterSettle", () => {
    if (judged && document.activeElement === document.body) document.getElementById(judged)?.focus();
    judged = "";
    count();
  });

  // ---- Keys. Those that judge work on the alert that has the focus only.
  const help = document.querySelector("#help");
  document.querySelector("#show-help")?.addEventListener("click", () => help.showModal());
  let current = "";
  document.addEventListener("focusin", (event) => {
    current = event.target.closest(".alert")?.id ?? current;
  });
  function move(step) {
    const all = [...cards.querySelectorAll(".alert")];
    const at = all.findIndex((card) => card.id === current);
    const next = all[at < 0 ? 0 : Math.min(Math.max(at + step, 0), all.length - 1)];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || !on("keys") || help?.open) return;
    const form = event.target.closest("form.judge");
    if (event.key === "Escape" && form) close(form);
    if (event.target.matches("input, select, textarea")) return;
    const card = event.target.closest(".alert") ?? (cards ? null : document.querySelector(".alert"));
    const judge = card?.querySelector("form.judge");
    const todo = {
      j: cards && (() => move(1)),
      k: cards && (() => move(-1)),
      c: judge && (() => open(judge, "confirmed")),
      r: judge && (() => open(judge, "rejected")),
      o: cards && card && (() => card.querySelector("h2 a").click()),
      "?": help && (() => help.showModal()),
    };
    // On a button or a link Enter does what it always does.
    if (event.target === card) todo.Enter = todo.o;
    if (todo[event.key]) {
      event.preventDefault();
      todo[event.key]();
    }
  });

  // ---- Until when a card should have been judged.
  setInterval(() => {
    for (const tag of document.querySelectorAll(".overdue[hidden]")) tag.hidden = Date.now() < Number(tag.dataset.due);
  }, 2000);

  if (!cards) return;

  // ---- Filters: times are of the browser's zone here and of UTC in the address.
  const filters = document.querySelector("#filters");
  const pad = (number) => String(number).padStart(2, "0");
  for (const input of filters.querySelectorAll("[data-utc]")) {
    if (!input.dataset.utc) continue;
    const date = new Date(input.dataset.utc);
    const day = `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
    input.value = `${day}T${pad(date.getHours())}:${pad(date.getMinutes())}`;
  }
  filters.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) {
      if (!value) event.formData.delete(name);
      else if (name === "since" || name === "until") event.formData.set(name, new Date(value).toISOString());
    }
  });

  // ---- Older cards.
  cards.addEventListener("click", async (event) => {
    const link = event.target.closest("#older a");
    if (!link) return;
    event.preventDefault();
    const last = cards.querySelectorAll(".alert").length;
    await htmx.ajax("GET", link.getAttribute("href"), { target: "#older", swap: "outerHTML" });
    const all = cards.querySelectorAll(".alert");
    most = Math.max(MOST, all.length);
    all[last]?.focus();
  });
  function trim() {
    const all = [...cards.querySelectorAll(".alert")];
    if (all.length <= most) return;
    for (const card of all.slice(most)) card.remove();
    const last = all[most - 1];
    const older = document.querySelector("#older");
    const address = new URL(older.querySelector("a").href);
    address.searchParams.set("cursor", btoa(`${last.dataset.stored}/${last.id.slice(6)}`).replaceAll("+", "-").replaceAll("/", "_"));
    older.querySelector("a").href = address.pathname + address.search;
    older.hidden = false;
  }

  // ---- Live.
  const later = (one, other) => {
    const [a, b] = [Number(one.dataset.stored), Number(other.dataset.stored)];
    return a === b ? one.id > other.id : a > b;
  };
  function show(html, kind) {
    const made = document.createElement("template");
    made.innerHTML = html;
    const card = made.content.firstElementChild;
    const old = document.getElementById(card.id);
    if (old) replace(old, card);
    else if (!insert(card, kind)) return;
    showTimes(card);
    htmx.process(card);
    card.classList.add("fresh");
    count();
  }
  function replace(old, card) {
    // Pictures that are the same stay, so that nothing flickers; so does what somebody is writing.
    for (const picture of card.querySelectorAll("img")) {
      const same = [...old.querySelectorAll("img")].find((one) => one.getAttribute("src") === picture.getAttribute("src"));
      if (same) picture.replaceWith(same);
    }
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const form = old.querySelector("form.judge");
    const kept = form && (form.contains(focused) || !form.querySelector(".because").hidden) && card.querySelector("form.judge");
    if (kept) kept.replaceWith(form);
    old.replaceWith(card);
    if (focused) (card.contains(focused) ? focused : card).focus({ preventScroll: true });
  }
  function insert(card, kind) {
    const next = [...cards.querySelectorAll(".alert")].find((one) => later(card, one));
    const older = document.querySelector("#older");
    // Further down than this page goes: it is among the older ones.
    if (!next && !older.hidden) return false;
    cards.insertBefore(card, next ?? older);
    document.querySelector("#nothing")?.remove();
    trim();
    if (kind === "opened") {
      const announce = document.querySelector("#announce");
      announce.textContent = `${announce.dataset.text} ${card.querySelector("h2").textContent}`;
      if (on("sound")) beep();
    }
    return true;
  }
  function drop(id) {
    const card = document.getElementById(`alert-${id}`);
    if (!card) return;
    const next = card.nextElementSibling?.matches(".alert") ? card.nextElementSibling : card.previousElementSibling;
    const focused = card.contains(document.activeElement);
    card.remove();
    if (focused) next?.focus();
    count();
  }

  const state = document.querySelector("#live");
  function tell(name, look) {
    state.textContent = state.dataset[name];
    state.className = `tag ${look}`;
  }
  let last = cards.dataset.after;
  function listen() {
    const address = new URL(cards.dataset.stream, location.href);
    address.searchParams.set("after", last);
    const source = new EventSource(address);
    const hear = (name, act) => source.addEventListener(name, (event) => {
      last = event.lastEventId || last;
      act(event.data);
    });
    for (const kind of ["opened", "updated", "closed", "judged", "erased"]) hear(kind, (html) => show(html, kind));
    hear("removed", drop);
    hear("ready", () => tell("live", "good"));
    hear("reload", () => location.reload());
    source.addEventListener("error", () => {
      tell("lost", "warn");
      // The browser tries again by itself, unless it was answered something else than a stream.
      if (source.readyState === EventSource.CLOSED) setTimeout(again, 3000);
    });
    addEventListener("pagehide", () => source.close(), { once: true });
  }
  async function again() {
    try {
      const answer = await fetch("/api/v1/alerts?limit=1");
      if (answer.status !== 401 && answer.status !== 403) return listen();
    } catch {
      return setTimeout(again, 3000);
    }
    const link = document.createElement("a");
    link.href = `/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
    link.textContent = state.dataset.ended;
    state.className = "tag bad";
    state.replaceChildren(link);
  }
  if (cards.dataset.stream) listen();
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
  count();
})();
