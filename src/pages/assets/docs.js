// Copies commands.
for (const button of document.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
document.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-copy]");
  if (button) navigator.clipboard.writeText(button.closest(".cmd").querySelector("code").textContent);
});
