// What every page needs: times in the user's zone, the theme, the menu, notes.
"use strict";

const formats = {
  datetime: new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" }),
  time: new Intl.DateTimeFormat(undefined, { timeStyle: "medium" }),
  date: new Intl.DateTimeFormat(undefined, { dateStyle: "medium" }),
};
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });

function ago(date) {
  const seconds = (date - Date.now()) / 1000;
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(seconds) >= size) return relative.format(Math.round(seconds / size), unit);
  }
  return relative.format(Math.round(seconds), "second");
}

/** Show the times of a part of the page in the browser's zone. */
function showTimes(root) {
  for (const element of root.querySelectorAll("time[datetime]")) {
    const date = new Date(element.dateTime);
    const style = element.dataset.style || "datetime";
    element.textContent = style === "ago" ? ago(date) : formats[style].format(date);
    element.title = formats.datetime.format(date);
  }
}

showTimes(document);
document.addEventListener("htmx:load", (event) => showTimes(event.target));
setInterval(() => {
  for (const element of document.querySelectorAll("time[data-style=ago]")) {
    element.textContent = ago(new Date(element.dateTime));
  }
}, 10000);

document.querySelector(".theme")?.addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
});

const menu = document.querySelector(".menu");
menu?.addEventListener("click", () => {
  const open = menu.getAttribute("aria-expanded") === "true";
  menu.setAttribute("aria-expanded", String(!open));
});

// A form of which nothing is sent before somebody said yes: <form data-confirm="Really?">.
document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

// Notes that tell of success go by themselves; faults stay until the next one.
document.addEventListener("htmx:beforeRequest", () => document.querySelector("#notes").replaceChildren());
document.addEventListener("htmx:sendError", () => {
  const note = document.createElement("p");
  note.className = "note bad";
  note.textContent = document.documentElement.lang === "en" ? "Lookout does not answer." : "…";
  document.querySelector("#notes").replaceChildren(note);
});
