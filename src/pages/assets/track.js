// Brings the page of an order to life: follows its changes, counts down, tells times in the reader's own zone. The page
// works without; all that a change does is to fetch it again.

const GIVEN_UP_AFTER = 15_000, LOST_AFTER = 10_000, POLL_EVERY = 5_000, LATE_AFTER = 6_000;
const find = (id, root = document) => root.getElementById(id);
const lang = document.documentElement.lang.replace(/^en$/, "en-GB"); // days before months, as the server writes them

let skew = 0; // of this clock from the server's
let news = new Date(); // when the server was last heard
let source, lost, polling, lateTold;
let isFetching = false, isStale = false;

const state = () => find("live").dataset;
const isFollowed = () => "followed" in state();
const now = () => Date.now() + skew;

/** Times in the reader's zone, and buttons that only a script can serve. */
function enhance(root) {
  for (const time of root.querySelectorAll("main time, template time")) {
    const at = new Date(time.dateTime), today = new Date(now()).toDateString() === at.toDateString();
    const style = "whole" in time.dataset ? { dateStyle: "medium", timeStyle: "long" }
      : today ? { timeStyle: "medium" } : { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" };
    time.textContent = at.toLocaleString(lang, { ...style, hourCycle: "h23" });
  }
  for (const button of root.querySelectorAll("[data-print], [data-copy]")) {
    button.hidden = "copy" in button.dataset && !navigator.clipboard;
  }
}

/** Says whether what is shown is what there is. */
function tell(isLive, root = document) {
  const live = find("live", root);
  if (!("open" in live.dataset)) return;
  live.className = isLive ? "live" : "live re";
  live.textContent = isLive ? live.dataset.live : live.dataset.lost;
}

function online() {
  news = new Date();
  clearTimeout(lost);
  lost = undefined;
  find("lost-note")?.remove();
  tell(true);
}

function offline() {
  tell(false);
  lost ??= setTimeout(() => {
    const note = find("lost").content.firstElementChild.cloneNode(true);
    note.id = "lost-note";
    note.querySelector("time").textContent = news.toLocaleTimeString(lang, { hourCycle: "h23" });
    document.querySelector(".steps").after(note);
  }, LOST_AFTER);
}

/** Shows the page as it is now, changing only what differs. */
async function update() {
  const signal = AbortSignal.timeout(GIVEN_UP_AFTER);
  const answer = await fetch(location.href, { headers: { accept: "text/html" }, cache: "no-store", signal });
  if (!answer.ok) throw new Error(answer.status);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  skew = Number(find("live", page).dataset.now) - Date.now();
  enhance(page);
  online();
  tell(true, page);
  const [title, heading] = [document.title, document.querySelector("h1").textContent];
  document.title = page.title;
  find("sprite").replaceWith(find("sprite", page));
  if (find("mark").href !== find("mark", page).href) find("mark").replaceWith(find("mark", page));
  const main = find("main"), [old, fresh] = [[...main.children], [...find("main", page).children]];
  main.className = find("main", page).className;
  if (old.length === fresh.length) {
    old.forEach((part, i) => part.isEqualNode(fresh[i]) || part.replaceWith(fresh[i]));
  } else {
    main.replaceChildren(...fresh);
  }
  const said = document.querySelector("h1").textContent;
  if (said !== heading || title !== document.title) find("said").textContent = said;
  if (!isFollowed()) leave();
}

/** One update at a time; one more if something changed meanwhile. */
async function refresh() {
  isStale = true;
  if (isFetching) return;
  isFetching = true;
  while (isStale) {
    isStale = false;
    await update().catch(offline);
  }
  isFetching = false;
}

/** Nothing can change any more. */
function leave() {
  source?.close();
  clearInterval(polling);
}

function connect() {
  if (!isFollowed()) return;
  source?.close();
  source = new EventSource(`${state().events}?since=${encodeURIComponent(state().version)}`);
  source.onopen = () => {
    clearInterval(polling);
    polling = undefined;
    online();
  };
  source.addEventListener("change", refresh);
  source.addEventListener("end", leave);
  source.onerror = () => {
    offline();
    // the browser connects again by itself, unless it was refused
    polling ??= setInterval(() => {
      refresh();
      if (source.readyState === EventSource.CLOSED) connect();
    }, POLL_EVERY);
  };
}

/** The count-down, and the tiles of the state that the order is in. */
function tick() {
  const left = document.querySelector(".left");
  if (left) {
    const seconds = Math.ceil((left.dataset.until - now()) / 1000);
    const [count, unit] = seconds < 100 ? [seconds, "s"] : seconds < 6000 ? [seconds / 60, "min"]
      : seconds < 172800 ? [seconds / 3600, "h"] : [seconds / 86400, "d"];
    left.children[1].textContent = Math.floor(count);
    left.children[2].textContent = unit;
    left.hidden = seconds <= 0;
  }
  const { since, due, at } = state();
  if (!due) return;
  const share = Math.min(3, Math.floor(4 * (now() - since) / (due - since)));
  const tiles = document.querySelectorAll(".seg")[at - 1]?.children ?? [];
  const glaze = document.querySelector(".item .tile").classList[1];
  [...tiles].forEach((tile, i) => tile.setAttribute("class", i < share ? glaze : i === share ? "bq next" : "bq"));
  if (now() > Number(due) + LATE_AFTER && lateTold !== due) {
    lateTold = due; // once, and the page says so
    refresh();
  }
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-print], [data-copy]");
  if (!button) return;
  if ("print" in button.dataset) return print();
  await navigator.clipboard.writeText(location.origin + location.pathname);
  button.lastElementChild.textContent = button.dataset.copy;
});
addEventListener("pageshow", ({ persisted }) => persisted && (refresh(), connect()));

skew = Number(state().now) - Date.now();
enhance(document);
for (const template of document.querySelectorAll("template")) enhance(template.content);
tick();
setInterval(tick, 1000);
connect();
