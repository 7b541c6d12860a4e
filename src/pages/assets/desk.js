// Keeps a page of the operations desk up to date: asks for it again once a second, and puts the parts that have changed in
// their places. Without it, the page is as of when it was loaded.

const EVERY_MS = 1000;
const bar = document.querySelector(".live");
const status = bar?.querySelector("[data-status]");
const button = bar?.querySelector("[data-pause]");
const live = bar?.querySelector("[data-is-live]")?.textContent;
const pause = button?.textContent;
let isPaused = false;
let isAsking = false;

function tell(text, isLost) {
  if (status && status.textContent !== text) status.textContent = text;
  bar?.classList.toggle("re", isLost);
}

// Parts come and go: when they are others, what holds them all is put in place as a whole.
const parts = (page) => [...page.querySelectorAll("[data-live]")].map((part) => part.id).join();

// What has the focus keeps it: its successor is found by where it leads.
function replace(part, fresh) {
  if (part.innerHTML === fresh.innerHTML) return;
  const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  part.replaceChildren(...fresh.childNodes);
  if (focused) part.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
}

function setPaused(paused) {
  isPaused = paused;
  button.textContent = isPaused ? bar.dataset.goOn : pause;
  bar.classList.toggle("end", isPaused);
  tell(isPaused ? bar.dataset.paused : live, false);
}

async function refresh() {
  if (isPaused || isAsking || document.hidden) return;
  isAsking = true;
  try {
    const response = await fetch(location.href, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(5000) });
    if (response.status === 401) return location.reload(); // the session has ended: to the log-in, and back here
    if (!response.ok || isPaused) throw new Error(response.status);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const whole = parts(document) === parts(page) ? "" : "#board, ";
    for (const part of document.querySelectorAll(`${whole}[data-live], #sprite`)) {
      const fresh = page.getElementById(part.id);
      if (fresh) replace(part, fresh);
    }
    document.title = page.title;
    prepare();
    tell(live, false);
    if (!page.querySelector(".live")) setPaused(true); // it has become too dear to be asked for every second
  } catch {
    if (!isPaused) tell(bar.dataset.lost, true);
  } finally {
    isAsking = false;
  }
}

// Buttons that need a script are hidden without one.
function prepare() {
  for (const copy of document.querySelectorAll("[data-copy]")) {
    copy.hidden = !navigator.clipboard;
    copy.onclick = () => navigator.clipboard.writeText(copy.parentElement.querySelector("code").textContent);
  }
}

prepare();
if (bar && button) {
  button.hidden = false;
  button.onclick = () => setPaused(!isPaused);
  tell(live, false);
  setInterval(refresh, EVERY_MS);
}
