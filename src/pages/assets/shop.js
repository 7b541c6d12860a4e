// Search as you type. The server renders what is found; this puts it in the place of what is there.
const form = document.getElementById("find");
const field = form.elements.q;
const hero = document.getElementById("hero");
let asking;

async function find() {
  asking?.abort();
  asking = new AbortController();
  const fields = [...new FormData(form)].filter(([, value]) => value.trim());
  const query = new URLSearchParams(fields).toString();
  const address = query ? `/?${query}` : "/";
  let page;
  try {
    const answer = await fetch(address, { headers: { accept: "text/html" }, signal: asking.signal });
    if (!answer.ok) return; // Enter asks again, and shows what is wrong
    page = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch {
    return;
  }
  for (const part of ["#sprite", "#main", ".langs"]) document.querySelector(part).replaceWith(page.querySelector(part));
  hero.className = page.getElementById("hero").className;
  hero.querySelector("h1").className = page.querySelector("#hero h1").className;
  document.title = page.title;
  document.getElementById("said").textContent = document.getElementById("count")?.textContent ?? "";
  history.replaceState(null, "", address);
}

let pause;
field.addEventListener("input", (event) => {
  if (event.isComposing) return;
  clearTimeout(pause);
  pause = setTimeout(find, 80);
});
field.addEventListener("compositionend", find);
form.addEventListener("submit", () => {
  clearTimeout(pause);
  asking?.abort();
});

// "/" leads to the field, arrows from there through what was found and back; Enter follows the link, as anywhere.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !event.target.matches("input, textarea, select")) {
    event.preventDefault();
    field.select();
    return;
  }
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const links = [...document.querySelectorAll("#wall a")];
  const at = event.target === field ? -1 : links.indexOf(event.target);
  if (!step || (at < 0 && event.target !== field)) return;
  const next = at + step < 0 ? field : links[at + step];
  if (!next || (at < 0 && step < 0)) return;
  event.preventDefault();
  next.focus();
});
