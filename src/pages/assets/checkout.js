// Sends the order, and sends it again while there is too much to do or no connection. Its key makes one order of it,
// however often it is sent. Whatever else the answer says, the browser sends the form itself and gets a page.
const form = document.getElementById("order");
const button = form.querySelector(".big");
const label = button.textContent;
const notes = document.getElementById("note");
let waiting;
let isSending = false;

form.addEventListener("submit", (event) => {
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

const note = form.querySelector("[data-seconds]");
if (note) wait(note.dataset.kind, Number(note.dataset.seconds));

async function send() {
  if (isSending) return;
  clearInterval(waiting);
  waiting = undefined;
  isSending = true;
  document.getElementById("mail-error")?.remove(); // which was about what was there before
  form.elements.email.removeAttribute("aria-invalid");
  say(button.dataset.sending);
  let answer;
  let body;
  try {
    answer = await fetch(form.action, {
      method: "POST",
      headers: { accept: "application/json" },
      body: new URLSearchParams(new FormData(form)),
      signal: AbortSignal.timeout(15_000),
    });
    body = await answer.json();
  } catch {
    isSending = false;
    wait("off", 5);
    return;
  }
  isSending = false;
  const seconds = Number(answer.headers.get("retry-after"));
  if (answer.status === 202 && body.track) {
    location.assign(body.track);
  } else if (seconds > 0) {
    wait(kindOf(answer.status, body.type ?? ""), seconds);
  } else {
    form.submit();
  }
}

function kindOf(status, type) {
  if (status === 429) return "many";
  if (type.endsWith(":unconfirmed") || status === 409) return "unsure";
  return type.endsWith(":unavailable") ? "away" : "busy";
}

function wait(kind, seconds) {
  const shown = document.querySelector(`template[data-note="${kind}"]`).content.cloneNode(true);
  const left = shown.querySelector("[data-left]");
  const until = Date.now() + seconds * 1000;
  const tell = () => {
    const rest = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    if (left) left.textContent = rest < 120 ? `${rest}\u00a0s` : `${Math.ceil(rest / 60)}\u00a0min`;
    if (rest === 0) send();
  };
  notes.replaceChildren(shown);
  say(kind === "off" ? button.dataset.offline : button.dataset.waiting);
  waiting = setInterval(tell, 1000);
  tell();
}

function say(words) {
  button.textContent = words;
  button.setAttribute("aria-disabled", "true");
}

function rest() {
  clearInterval(waiting);
  waiting = undefined;
  notes.replaceChildren();
  button.textContent = label;
  button.removeAttribute("aria-disabled");
}
