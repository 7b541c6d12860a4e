// Keeps a page of the desk as it is now, until it is paused.
import { clock, find, follow, localise, now } from "./live.js";

let isLive = true, isPaused = false;

/** Buttons that only a script can serve, and whether what is shown is what there is. */
function dress(page) {
  localise(page);
  for (const button of page.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
  const bar = find("live", page), button = find("pause", page);
  if (!bar) return; // the page is too dear to be followed
  const { live, lost, old, paused, pause, goOn } = bar.dataset, isOld = old !== undefined;
  bar.className = isPaused || isOld ? "live end" : isLive ? "live" : "live re";
  if (isPaused || !isLive || !isOld) bar.firstElementChild.textContent = isPaused ? paused : isLive ? live : lost;
  button.textContent = isPaused ? goOn : pause;
  button.hidden = false;
}

const line = follow({
  address: () => location.href,
  isWanted: () => find("live") && !isPaused && !document.hidden,
  change: ({ data }) => line.show(JSON.parse(data)),
  dress,
  tell(is) {
    if (isLive === is) return;
    isLive = is;
    dress(document);
  },
});

document.addEventListener("click", ({ target }) => {
  const copy = target.closest("[data-copy]");
  if (copy) navigator.clipboard.writeText(copy.closest(".cmd, .msg").querySelector(".cmd code, pre").textContent);
  if (target.id !== "pause") return;
  isPaused = !isPaused;
  dress(document);
  line.attend();
});
setInterval(() => {
  const shown = find("clock");
  if (shown && !isPaused && isLive && !("old" in find("live").dataset)) shown.textContent = clock(new Date(now()));
}, 1000);
dress(document);
