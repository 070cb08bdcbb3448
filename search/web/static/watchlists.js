// The browser's own time zone is a good first guess.
"use strict";

const zone = document.querySelector("#zone");
if (zone && !zone.value) {
  zone.placeholder = Intl.DateTimeFormat().resolvedOptions().timeZone || zone.placeholder;
  zone.form.addEventListener("submit", () => {
    const hours = [...zone.form.querySelectorAll(".window input")];
    const used = hours.some((input) => (input.type === "checkbox" ? input.checked : input.value));
    if (used && !zone.value) zone.value = zone.placeholder;
  });
}
