// Keeps a page as it is on the server: by a stream of events or, without one, by asking for it again.

const SILENT_AFTER = 25_000, TIMEOUT = 15_000, POLL_EVERY = 5_000;
let skew = 0; // of this clock from the server's

export const find = (id, page = document) => page.getElementById(id);
export const now = () => Date.now() + skew;

const lang = document.documentElement.lang.replace(/^en$/, "en-GB"); // days before months, as the server writes them
const told = (at, form) => at.toLocaleString(lang, { hourCycle: "h23", ...form });
const two = "2-digit", MINUTES = { hour: two, minute: two }, SECONDS = { ...MINUTES, second: two };
export const clock = (at) => told(at, SECONDS);

/** Tells times, and of which zone they are, in the reader's own. */
export function localise(page) {
  for (const time of page.querySelectorAll("main time[datetime]")) {
    const at = new Date(time.dateTime), { as } = time.dataset;
    const isToday = new Date(now()).toDateString() === at.toDateString();
    time.textContent = told(at, as === "whole" ? { dateStyle: "medium", timeStyle: "long" } : {
      ...as === "exact" ? { ...SECONDS, fractionalSecondDigits: 3 } : !as && isToday ? SECONDS : MINUTES,
      ...!isToday && as !== "hour" && { day: "numeric", month: "short" },
    });
  }
  for (const zone of page.querySelectorAll("[data-zone]")) zone.textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
}

function setClock(page) {
  skew = (page.querySelector("[data-now]")?.dataset.now ?? now()) - Date.now();
}
setClock(document);

/** Makes what is shown what it is now, replacing only what differs. */
function renew(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  const [parts, others] = [[...old.childNodes], [...fresh.childNodes]];
  const isSame = parts.length && parts.length === others.length && old.cloneNode().isEqualNode(fresh.cloneNode());
  if (isSame) parts.forEach((part, i) => renew(part, others[i]));
  else old.replaceWith(fresh);
}

/**
 * Follows the stream at `address()` while it `isWanted()`. `dress` gets each page before it is shown; `tell` hears whether
 * what is shown is what there is. Hidden pages are only asked for: browsers have few connections.
 */
export function follow({ address, isWanted, change, dress, tell }) {
  let source, silence, polling, isAsking, isStale;

  function show(html) {
    if (!isWanted()) return;
    const page = new DOMParser().parseFromString(html, "text/html");
    const focused = document.activeElement?.getAttribute("href");
    setClock(page);
    tell(true);
    dress(page);
    document.title = page.title;
    for (const part of ["#mark", "#sprite", "#said", ".top", "main"]) {
      const old = document.querySelector(part);
      if (old) renew(old, page.querySelector(part));
    }
    // what had the focus keeps it
    if (focused && document.activeElement === document.body) document.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
    if (!isWanted()) attend();
  }

  async function ask() {
    const signal = AbortSignal.timeout(TIMEOUT);
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, signal });
    if (answer.status === 401) return location.reload(); // to the log-in
    if (!answer.ok) throw new Error(answer.status);
    show(await answer.text());
  }

  /** One at a time; one more if something changed meanwhile. */
  async function refresh() {
    isStale = true;
    while (isStale && !isAsking) {
      [isStale, isAsking] = [false, true];
      await ask().catch(lose);
      isAsking = false;
    }
  }

  function poll() {
    refresh();
    if (!document.hidden) open();
  }

  function lose() {
    if (!isWanted()) return;
    source?.close();
    tell(false);
    polling ??= setInterval(poll, POLL_EVERY);
  }

  function rest() {
    clearTimeout(silence);
    clearInterval(polling);
    polling = undefined;
  }

  function hear() {
    rest();
    silence = setTimeout(lose, SILENT_AFTER);
    tell(true);
  }

  function open() {
    source?.close();
    source = new EventSource(address());
    source.onopen = hear;
    source.onerror = () => polling ? source.close() : lose(); // what comes without a stream is not lost
    source.addEventListener("beat", hear);
    source.addEventListener("change", change);
    source.addEventListener("end", () => source.close());
  }

  function attend() {
    source?.close();
    rest();
    if (!isWanted()) return;
    if (document.hidden) polling = setInterval(poll, POLL_EVERY);
    else open();
  }

  document.addEventListener("visibilitychange", attend);
  addEventListener("pageshow", attend);
  return { attend, refresh, show };
}
localise(document);
