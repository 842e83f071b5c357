"use strict";
const tip = document.getElementById("tip");

function show(event) {
  const over = event.target.closest("[data-tip]");
  tip.hidden = !over;
  if (!over) return;
  tip.textContent = over.dataset.tip;
  const wide = tip.offsetWidth, high = tip.offsetHeight, room = 14;
  const left = event.clientX + room + wide > innerWidth ? event.clientX - room - wide : event.clientX + room;
  const top = event.clientY + room + high > innerHeight ? event.clientY - room - high : event.clientY + room;
  tip.style.left = Math.max(4, Math.min(left, innerWidth - wide - 4)) + "px";
  tip.style.top = Math.max(4, top) + "px";
}
document.addEventListener("pointermove", show);
document.addEventListener("pointerdown", show);
document.addEventListener("scroll", () => { tip.hidden = true; }, true);

for (const button of document.querySelectorAll("[data-switch]"))
  button.addEventListener("click", () => {
    const off = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!off));
    button.closest("figure").querySelector(`[data-series="${button.dataset.switch}"]`).classList.toggle("off", off);
  });

function key(row, column) {
  const cell = row.cells[column], value = cell.dataset.value;
  return value === undefined ? cell.textContent : Number(value);
}
for (const heading of document.querySelectorAll("th"))
  heading.querySelector("button").addEventListener("click", () => {
    const body = heading.closest("table").tBodies[0], column = heading.cellIndex;
    const up = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
    const rows = Array.from(body.rows).sort((a, b) => {
      const x = key(a, column), y = key(b, column);
      const order = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
      return up ? order : -order;
    });
    body.append(...rows);
  });

function openNamed() {
  const named = location.hash && document.getElementById(location.hash.slice(1));
  if (named && named.tagName === "DETAILS") { named.open = true; named.scrollIntoView(); }
}
addEventListener("hashchange", openNamed);
openNamed();

const openAll = document.getElementById("open-all");
openAll.addEventListener("click", () => {
  const open = openAll.textContent === "Open all";
  for (const layer of document.querySelectorAll("details.layer")) layer.open = open;
  openAll.textContent = open ? "Close all" : "Open all";
});
