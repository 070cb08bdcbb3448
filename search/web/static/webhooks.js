// The button beside a secret. Where the clipboard is closed to pages (plain http), the text is marked instead.
"use strict";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copy);
  getSelection().selectAllChildren(text);
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = button.dataset.done;
  } catch {
    // It is marked: Ctrl+C copies it.
  }
});

// What was sent is not shown again: a URL may hold a password.
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful && event.target.matches("form[data-reset]")) event.target.reset();
});
