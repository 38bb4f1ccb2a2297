// Counts ages up, says when the connection is lost, and rests while nobody looks.
"use strict";

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function age(seconds) {
  const distance = Math.abs(seconds);
  if (distance < 2) return "just now";
  const [size, unit] = UNITS.find(([size]) => distance >= size);
  const text = `${Math.floor(distance / size)} ${unit}`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

function tell(root) {
  const now = Date.now();
  for (const time of root.querySelectorAll("time[data-age]")) {
    const text = age((now - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

let held = 0; // until when a word about a failed press stays, though polls succeed again

function connection(text, holdFor = 0) {
  if (!text && Date.now() < held) return;
  held = Date.now() + holdFor;
  const line = document.getElementById("connection");
  if (line.textContent !== text) line.textContent = text;
}

tell(document);
setInterval(() => tell(document), 1000);

document.addEventListener("htmx:beforeRequest", (event) => {
  const polling = event.detail.requestConfig.verb === "get";
  if (polling && document.hidden) event.preventDefault();
});
document.addEventListener("htmx:afterSwap", () => tell(document));
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) connection("");
});
document.addEventListener("htmx:sendError", () => connection("No connection; trying again"));
document.addEventListener("htmx:timeout", () => connection("No answer; trying again"));
document.addEventListener("htmx:responseError", (event) => {
  const { requestConfig, xhr } = event.detail;
  if (requestConfig.verb === "post") connection("That was not done; please press again", 8000);
  else connection(xhr.status === 503 ? "Not available right now; trying again" : "That did not work; reload the page");
});
