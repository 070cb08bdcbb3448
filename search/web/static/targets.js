// Enrolment: each photo is looked at as soon as it is dropped. The files stay in the browser until the form is sent.
"use strict";

for (const form of document.querySelectorAll("form.enrol")) enrol(form);

function enrol(form) {
  const input = form.querySelector("[data-photos]");
  const list = form.querySelector("[data-examined]");
  const outcome = form.querySelector("[data-outcome]");
  const drop = form.querySelector("[data-drop]");
  const files = new Map(); // list item -> file
  // From here on this script sends the files.
  input.removeAttribute("name");

  input.addEventListener("change", () => {
    for (const file of input.files) look(file);
    input.value = "";
  });
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    for (const file of event.dataTransfer.files) look(file);
  });

  async function look(file) {
    const item = form.querySelector("[data-waiting]").content.firstElementChild.cloneNode(true);
    item.querySelector("span").textContent = file.name;
    list.append(item);
    files.set(item, file);
    const body = new FormData();
    body.append("photos", file);
    const answer = await send(input.dataset.url, body);
    if (!answer) return leave(item);
    item.innerHTML = answer.html;
    const refused = !answer.ok || item.querySelector("h3 .tag.bad");
    item.classList.toggle("refused", Boolean(refused));
    if (refused) files.delete(item);
    // Radios of one photo belong together.
    const choices = [...item.querySelectorAll("[data-choice]")];
    const name = `choice-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    for (const choice of choices) {
      choice.name = name;
      choice.required = !refused;
      choice.addEventListener("change", () => mark(item, choice.value));
    }
    for (const box of item.querySelectorAll("rect.good")) {
      box.addEventListener("click", () => {
        const choice = choices.find((one) => one.value === box.dataset.face);
        if (choice) { choice.checked = true; mark(item, choice.value); }
      });
    }
    const button = form.querySelector("[data-leave]").content.firstElementChild.cloneNode(true);
    button.addEventListener("click", () => leave(item));
    item.append(button);
  }

  function mark(item, face) {
    for (const box of item.querySelectorAll("rect")) box.classList.toggle("chosen", box.dataset.face === face);
  }

  function leave(item) {
    files.delete(item);
    item.remove();
    outcome.replaceChildren();
  }

  outcome.addEventListener("click", (event) => {
    const number = event.target.dataset?.dropPhoto;
    if (number !== undefined) leave([...files.keys()][Number(number)]);
  });

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const body = new FormData(form, event.submitter);
    for (const [name] of [...body]) if (name.startsWith("choice-")) body.delete(name);
    for (const [item, file] of files) {
      body.append("photos", file);
      body.append("face", item.querySelector("[data-choice]:checked")?.value ?? "");
    }
    const buttons = form.querySelectorAll("button");
    for (const button of buttons) button.disabled = true;
    const answer = await send(form.action, body);
    for (const button of buttons) button.disabled = false;
    if (answer) {
      outcome.innerHTML = answer.html;
      outcome.scrollIntoView({ block: "nearest" });
    }
  });

  async function send(url, body) {
    try {
      const answer = await fetch(url, { method: "POST", body, headers: { "HX-Request": "true" } });
      const elsewhere = answer.headers.get("HX-Redirect");
      if (elsewhere) { location.assign(elsewhere); return null; }
      return { ok: answer.ok, html: await answer.text() };
    } catch {
      document.dispatchEvent(new CustomEvent("htmx:sendError"));
      return null;
    }
  }
}
