// Two comforts, no decisions: a page reads itself again when something moved, and deadlines count down.
"use strict";

const main = document.getElementById("main");
const news = document.getElementById("news");
const ahead = Number(document.body.dataset.now) - Date.now() / 1000;
// Not the address: after a refused decision that is where the form went.
const here = document.body.dataset.here;
let shown = facts(main);
let typing = false;
main.addEventListener("input", () => { typing = true; });

// What a page shows, without the answer to what somebody just tried: that is not news, and stays until there is some.
function facts(element) {
  const copy = element.cloneNode(true);
  for (const alert of copy.querySelectorAll("[role=alert]")) { alert.remove(); }
  return copy.innerHTML;
}

// What is on the page is replaced only when the gate shows something else, and never under somebody who is writing.
async function readAgain() {
  const answer = await fetch(here, { headers: { Accept: "text/html" } });
  if (answer.status === 401 || answer.redirected) { location.assign(here); return; }
  if (!answer.ok) { return; }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = facts(page.getElementById("main"));
  if (fresh === shown) { return; }
  if (typing) {
    news.textContent = "This call has moved on. ";
    news.append(Object.assign(document.createElement("a"), { href: here, textContent: "Show it as it is now" }));
    return;
  }
  const at = main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  main.replaceChildren(...page.getElementById("main").childNodes);
  shown = fresh;
  news.textContent = "The page has changed.";
  setTimeout(() => { news.textContent = ""; }, 4000);
  if (at) { main.querySelector(`[href="${CSS.escape(at)}"]`)?.focus(); }
  countDown();
}

if (document.body.dataset.live) {
  const stream = new EventSource(document.body.dataset.live);
  stream.addEventListener("moved", () => { readAgain().catch(() => {}); });
  addEventListener("pagehide", () => { stream.close(); });
}

function countDown() {
  for (const time of document.querySelectorAll("time[data-until]")) {
    const left = Math.max(0, Math.floor(Number(time.dataset.until) - Date.now() / 1000 - ahead));
    const [hours, minutes, seconds] = [Math.floor(left / 3600), Math.floor(left / 60) % 60, left % 60];
    const said = hours > 0 ? `${hours} h ${minutes} min left` : `${minutes} min ${seconds} s left`;
    time.textContent = left > 0 ? said : "time is over";
  }
}
countDown();
setInterval(countDown, 1000);
