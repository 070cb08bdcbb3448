// A video is sent as it is, with a bar that shows how far it is. Times are of the browser's zone.
"use strict";

const form = document.querySelector("#video");
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (form) form.querySelector(".zone").textContent = zone;

const added = form?.querySelector(".new");
const choice = form?.elements.camera;
function showNew() {
  if (!added) return;
  const wanted = !choice || choice.value === "";
  added.hidden = !wanted;
  form.elements.new_camera.required = wanted;
}
choice?.addEventListener("change", showNew);
if (form) showNew();

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const [file] = form.elements.file.files;
  const bar = form.querySelector("progress");
  const button = form.querySelector("button");
  if (!file) return;
  const query = new URLSearchParams({
    camera: (choice && choice.value) || form.elements.new_camera.value.trim(),
    start: new Date(form.elements.start.value).toISOString(),
    fps: form.elements.fps.value,
    file_name: file.name.slice(0, 200),
  });
  const rest = () => { button.disabled = false; bar.hidden = true; };
  button.disabled = true;
  bar.hidden = false;
  const request = new XMLHttpRequest();
  request.open("POST", `${form.action}?${query}`);
  request.setRequestHeader("HX-Request", "true");
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.upload.addEventListener("progress", (sent) => { bar.value = (100 * sent.loaded) / sent.total; });
  request.addEventListener("load", () => {
    const elsewhere = request.getResponseHeader("HX-Redirect");
    if (elsewhere) { location.assign(elsewhere); return; }
    document.querySelector("#notes").innerHTML = request.responseText;
    rest();
  });
  request.addEventListener("error", () => {
    document.dispatchEvent(new CustomEvent("htmx:sendError"));
    rest();
  });
  request.send(file);
});
