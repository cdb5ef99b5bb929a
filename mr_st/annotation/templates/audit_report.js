"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const PAGE = 50;
  const columns = ["Query", "Item", "Engagement", "Label", "Judges", "Experts", "Final"];
  const count = (n) => n.toLocaleString("en");
  const many = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;
  const gradeName = (grade) => (grade === null || grade === undefined ? "–" : `${grade} ${data.grades[grade] ?? ""}`);
  const several = (grades) => {
    if (!grades.length) return "–";
    return grades.every((grade) => grade === grades[0]) ? gradeName(grades[0]) : grades.map(gradeName).join(", ");
  };
  const lower = data.rows.map((row) => `${row.query}\n${row.item}\n${row.query_id}\n${row.item_id}`.toLowerCase());
  let page = 0;

  function wanted() {
    const which = $("which").value, label = $("label").value;
    const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    return data.rows.filter((row, i) =>
      (which === "all" || row.outcome === which) &&
      (label === "" || row.label === Number(label)) &&
      words.every((word) => lower[i].includes(word)));
  }

  function texts(row) {
    const shown = [`${many(row.clicks, "click")}, ${count(row.purchases)} bought of ${count(row.impressions)} shown`, row.reason];
    return [row.query, row.item, shown.filter(Boolean).join("; "), gradeName(row.label), several(row.judges),
      several(row.experts), gradeName(row.final)];
  }

  function expandable(text) {
    const button = document.createElement("button");
    const show = (isOpen) => {
      text.classList.toggle("open", isOpen);
      button.setAttribute("aria-expanded", String(isOpen));
      button.textContent = isOpen ? "less" : "more";
    };
    button.type = "button";
    button.className = "more";
    button.addEventListener("click", () => show(button.getAttribute("aria-expanded") !== "true"));
    show(false);
    text.after(button);
  }

  function render() {
    const rows = wanted();
    const last = Math.max(0, Math.ceil(rows.length / PAGE) - 1);
    page = Math.min(Math.max(page, 0), last);
    const shown = rows.slice(page * PAGE, (page + 1) * PAGE);
    $("rows").replaceChildren(...shown.map((row) => {
      const line = document.createElement("tr");
      line.append(...texts(row).map((text, i) => {
        const cell = document.createElement("td");
        cell.dataset.name = columns[i];
        const inner = document.createElement(i === 6 && row.outcome === "changed" ? "b" : i < 2 ? "div" : "span");
        inner.textContent = text;
        if (i < 2) {
          inner.className = "clip";
          inner.dir = "auto";
          inner.title = i === 0 ? row.query_id : row.item_id;
        }
        cell.append(inner);
        return cell;
      }));
      return line;
    }));
    $("scroll").hidden = !rows.length;
    for (const text of $("rows").querySelectorAll(".clip")) if (text.scrollHeight > text.clientHeight + 1) expandable(text);
    const first = page * PAGE + 1;
    $("status").textContent = rows.length
      ? `${count(first)} to ${count(first + shown.length - 1)} of ${many(rows.length, "pair")}`
      : "No such pair.";
    for (const id of ["previous", "following"]) $(id).hidden = last === 0;
    $("previous").disabled = page === 0;
    $("following").disabled = page === last;
  }

  const turn = (by) => { page += by; render(); $("pairs").scrollIntoView({ block: "start" }); };
  data.grades.forEach((_, grade) => {
    const option = document.createElement("option");
    option.value = grade;
    option.textContent = gradeName(grade);
    $("label").append(option);
  });
  for (const id of ["which", "label", "find"]) $(id).addEventListener("input", () => { page = 0; render(); });
  $("previous").addEventListener("click", () => turn(-1));
  $("following").addEventListener("click", () => turn(1));
  if (!data.rows.some((row) => row.outcome === "changed")) $("which").value = "all";
  for (const id of ["controls", "pager"]) $(id).hidden = false;
  render();
}
