// An archive is sent as it is, with a bar that shows how far it is.
"use strict";

const form = document.querySelector("#import");
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const [file] = form.querySelector("input[type=file]").files;
  const bar = form.querySelector("progress");
  const button = form.querySelector("button");
  if (!file) return;
  button.disabled = true;
  bar.hidden = false;
  const request = new XMLHttpRequest();
  request.open("POST", `${form.action}?source=${encodeURIComponent(file.name.slice(0, 200))}`);
  request.setRequestHeader("HX-Request", "true");
  request.setRequestHeader("Content-Type", "application/zip");
  request.upload.addEventListener("progress", (sent) => { bar.value = (100 * sent.loaded) / sent.total; });
  request.addEventListener("load", () => {
    const elsewhere = request.getResponseHeader("HX-Redirect");
    if (elsewhere) { location.assign(elsewhere); return; }
    document.querySelector("#notes").innerHTML = request.responseText;
    button.disabled = false;
    bar.hidden = true;
  });
  request.addEventListener("error", () => {
    document.dispatchEvent(new CustomEvent("htmx:sendError"));
    button.disabled = false;
    bar.hidden = true;
  });
  request.send(file);
});
