"use strict";
// What a person does with the page of scores: sort a table, bring one method forward, print all of it.

/** @param {HTMLTableElement} table @param {number} column @param {number} sign: 1 ascending, -1 descending */
function sortRows(table, column, sign) {
  const body = table.tBodies[0];
  /** @param {HTMLTableRowElement} row */
  const valueOf = (row) => {
    const cell = row.cells[column];
    if (!cell || cell.dataset.value === "") return null;
    return cell.dataset.value === undefined ? (cell.textContent || "").trim().toLowerCase() : Number(cell.dataset.value);
  };
  const rows = [...body.rows].map((row) => ({ row, value: valueOf(row) }));
  rows.sort((a, b) => {
    if (a.value === null || b.value === null) return Number(a.value === null) - Number(b.value === null); // nothing is last
    return sign * (typeof a.value === "number" ? a.value - Number(b.value) : a.value.localeCompare(String(b.value)));
  });
  body.append(...rows.map(({ row }) => row));
}

for (const table of /** @type {NodeListOf<HTMLTableElement>} */ (document.querySelectorAll("table[data-sortable]"))) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const isWord = table.tBodies[0].rows[0].cells[column].dataset.value === undefined;
    const isRank = (head.textContent || "").trim() === "Rank";
    const first = isWord || isRank ? "ascending" : "descending";
    const other = first === "ascending" ? "descending" : "ascending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    for (const cell of heads) cell.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    sortRows(table, column, order === "ascending" ? 1 : -1);
  }));
}

const buttons = /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll("[data-method]"));
for (const button of buttons) {
  button.addEventListener("click", () => {
    const method = button.getAttribute("aria-pressed") === "true" ? "" : button.dataset.method || "";
    for (const other of buttons) other.setAttribute("aria-pressed", String(other.dataset.method === method));
    if (method) document.body.dataset.front = method;
    else delete document.body.dataset.front;
    for (const group of document.querySelectorAll(".chart g[class^=of]")) {
      /** @type {HTMLElement} */ (group).style.opacity = group.classList.contains(`of${method}`) ? "1" : "";
    }
  });
}

window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
