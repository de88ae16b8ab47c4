"use strict";
// A table that is sorted by its columns and searched. Without this code it is a table like others.

const table = document.getElementById("index");
const lines = [...table.tBodies[0].rows];
const shown = (cell) => cell.textContent.trim();
const valueOf = (cell) => {
  const number = Number(shown(cell).replace("−", "-").replace("∞", "Infinity"));
  return shown(cell) && !Number.isNaN(number) ? number : null;
};

// Numbers by size, words by the alphabet; a dash, which is no score, always last.
function compare(one, two) {
  const [first, second] = [valueOf(one), valueOf(two)];
  if (first !== null && second !== null) return first - second;
  return shown(one).localeCompare(shown(two), undefined, { numeric: true });
}

function sort(column, head) {
  const falls = head.getAttribute("aria-sort") === "ascending" || (column > 1 && !head.ariaSort);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falls ? "descending" : "ascending");
  const missing = (row) => shown(row.cells[column]) === "–";
  const order = (a, b) => (falls ? -1 : 1) * compare(a.cells[column], b.cells[column]);
  lines.sort((a, b) => missing(a) - missing(b) || order(a, b));
  table.tBodies[0].append(...lines);
}

[...table.tHead.rows[0].cells].forEach((head, column) => {
  const button = document.createElement("button");
  button.textContent = head.textContent;
  button.addEventListener("click", () => sort(column, head));
  head.replaceChildren(button);
});

document.getElementById("search").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/);
  for (const row of lines) {
    const text = `${shown(row.cells[0])} ${shown(row.cells[1])}`.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  const left = lines.filter((row) => !row.hidden).length;
  document.getElementById("found").textContent = `${left} of ${lines.length}`;
});
