// Two comforts, no decisions: a page reads itself again when something moved, and deadlines count down.
"use strict";

const live = document.body.dataset.live;
let typing = false;
document.addEventListener("input", () => { typing = true; });
if (live) {
  const stream = new EventSource(live);
  stream.addEventListener("moved", () => { if (!typing) { location.reload(); } });
}

function countDown() {
  for (const time of document.querySelectorAll("time[data-until]")) {
    const left = Math.max(0, Math.floor(Number(time.dataset.until) - Date.now() / 1000));
    const minutes = Math.floor(left / 60);
    time.textContent = left > 0 ? `${minutes} min ${left % 60} s left` : "time is over";
  }
}
countDown();
setInterval(countDown, 1000);
