// Brings the page of an order to life: follows its changes, and counts down. The page works without.
import { clock, find, follow, localise, now } from "./live.js";

const LOST_AFTER = 10_000, LATE_AFTER = 6_000;

let news = new Date(); // when the server was last heard
let lost, lateTold;

const state = () => find("live").dataset;

/** Says whether what is shown is what there is. */
function tell(isLive, page = document) {
  const live = find("live", page);
  if ("open" in live.dataset) {
    live.className = isLive ? "live" : "live re";
    live.textContent = isLive ? live.dataset.live : live.dataset.lost;
  }
  if (isLive) {
    news = new Date();
    clearTimeout(lost);
    lost = find("lost-note")?.remove();
  } else {
    lost ??= setTimeout(() => {
      const note = find("lost").content.firstElementChild.cloneNode(true);
      note.id = "lost-note";
      note.querySelector("time").textContent = clock(news);
      document.querySelector(".steps").after(note);
    }, LOST_AFTER);
  }
}

/** Times as the reader has them, and buttons that only a script can serve. */
function enhance(page) {
  localise(page);
  for (const button of page.querySelectorAll("[data-print], [data-copy]")) {
    button.hidden = "copy" in button.dataset && !navigator.clipboard;
  }
}

function dress(page) {
  enhance(page);
  tell(true, page);
  const said = page.querySelector("h1").textContent;
  if (said !== document.querySelector("h1").textContent) find("said", page).textContent = said;
}

const line = follow({
  address: () => `${state().events}?since=${encodeURIComponent(state().version)}`,
  isWanted: () => "followed" in state(),
  change: () => line.refresh(),
  dress, tell,
});

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
    line.refresh();
  }
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-print], [data-copy]");
  if (!button) return;
  if ("print" in button.dataset) return print();
  await navigator.clipboard.writeText(location.origin + location.pathname);
  button.lastElementChild.textContent = button.dataset.copy;
});
enhance(document);
tick();
setInterval(tick, 1000);
