// Buttons that copy what is shown once: <button data-copy="#id-of-the-text">.
"use strict";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const text = document.querySelector(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "✓";
  } catch {
    // Not offered by pages without TLS: the text is selected to be copied by hand.
    getSelection().selectAllChildren(text);
  }
});
