// The table `#rows`: a click on a heading sorts, the field `#filter` hides rows without its text.
const body = document.querySelector("#rows tbody");
const original = [...body.rows];
const number = text => { const found = text.replace(/,/g, "").match(/^\s*[-+]?\d+(\.\d+)?/); return found ? parseFloat(found[0]) : NaN; };
document.querySelectorAll("#rows thead th").forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
  const order = { none: "descending", descending: "ascending", ascending: "none" }[head.getAttribute("aria-sort")];
  document.querySelectorAll("#rows thead th").forEach(other => other.setAttribute("aria-sort", "none"));
  head.setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const key = row => row.cells[column].textContent.trim();
  const isText = column === 0 || original.every(row => isNaN(number(key(row))));
  const sorted = order === "none" ? original : [...original].sort((a, b) => {
    if (isText) return sign * key(a).localeCompare(key(b));
    const [x, y] = [number(key(a)), number(key(b))];
    return isNaN(x) ? 1 : isNaN(y) ? -1 : sign * (x - y);
  });
  body.replaceChildren(...sorted);
}));
document.getElementById("filter").addEventListener("input", event => {
  const wanted = event.target.value.toLowerCase();
  original.forEach(row => { row.hidden = !row.textContent.toLowerCase().includes(wanted); });
});
