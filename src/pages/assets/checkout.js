// Sends the order, and sends it again while it is too busy or offline. Its key makes one order of it,
// however often it is sent. What else there is to say comes as a page, which takes the place of this one: so the way back
// never leads through a form that was sent.
const form = () => document.getElementById("order");
const button = () => form().querySelector(".big");
let label = button().textContent;
let waiting;
let isSending = false;

document.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
addEventListener("online", () => {
  if (waiting) send();
});
// back from the next page: the form is as it was
addEventListener("pageshow", (event) => {
  if (event.persisted) rest();
});
begin();

// A page that came while it was too busy goes on waiting.
function begin() {
  const note = form()?.querySelector("[data-seconds]");
  if (note) wait(note.dataset.kind, Number(note.dataset.seconds));
}

function post(accept) {
  const body = new URLSearchParams(new FormData(form()));
  return fetch(form().action, { method: "POST", headers: { accept }, body, signal: AbortSignal.timeout(15_000) });
}

async function send() {
  if (isSending) return;
  stop();
  isSending = true;
  say(button().dataset.sending);
  try {
    const answer = await post("application/json");
    const body = await answer.json();
    const seconds = Number(answer.headers.get("retry-after"));
    if (answer.status === 202 && body.track) location.assign(body.track);
    else if (answer.status === 202) form().submit();
    else if (seconds > 0) wait(kindOf(answer.status, body.type ?? ""), seconds);
    else await explain();
  } catch {
    wait("off", 5);
  }
  isSending = false;
}

async function explain() {
  const answer = await post("text/html");
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of ["#sprite", "#main"]) document.querySelector(part).replaceWith(page.querySelector(part));
  document.title = page.title;
  if (!form()) return;
  label = button().textContent;
  (form().querySelector("[aria-invalid]") ?? button()).focus();
  begin();
}

function kindOf(status, type) {
  if (type.includes(":over")) return "busy";
  if (status === 429) return "many";
  return type.endsWith(":unavailable") ? "away" : "unsure"; // without an answer it may be taken
}

function wait(kind, seconds) {
  stop();
  const shown = document.querySelector(`template[data-note="${kind}"]`).content.cloneNode(true);
  const left = shown.querySelector("[data-left]");
  const until = Date.now() + seconds * 1000;
  const tell = () => {
    const rest = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    if (left) left.textContent = rest < 120 ? `${rest}\u00a0s` : `${Math.ceil(rest / 60)}\u00a0min`;
    if (rest === 0) send();
  };
  document.getElementById("note").replaceChildren(shown);
  say(kind === "off" ? button().dataset.offline : button().dataset.waiting);
  waiting = setInterval(tell, 1000);
  tell();
}

function say(words) {
  button().textContent = words;
  button().setAttribute("aria-disabled", "true");
}

function stop() {
  clearInterval(waiting);
  waiting = undefined;
}

function rest() {
  stop();
  isSending = false;
  document.getElementById("note").replaceChildren();
  button().textContent = label;
  button().removeAttribute("aria-disabled");
}
