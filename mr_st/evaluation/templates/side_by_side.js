"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const PAGE = 20, EQUAL = 1e-9;
  const count = (n) => n.toLocaleString("en");
  const many = (n, one, several) => `${count(n)} ${n === 1 ? one : several}`;
  const signed = (x) => (x < 0 ? "−" : "+") + Math.abs(x).toFixed(4);
  const change = (query) => query.b - query.a;
  const outcome = (query) => (change(query) > EQUAL ? "won" : change(query) < -EQUAL ? "lost" : "equal");
  const word = { won: "better", lost: "worse", equal: "equal" };
  const lower = new Map(data.queries.map((query) => [query,
    [query.text, query.id, ...query.lists.flat().map(([item]) => data.items[item].join("\n"))].join("\n").toLowerCase()]));
  const orders = {
    moved: () => 0, // as they come
    gained: (a, b) => change(b) - change(a),
    lost: (a, b) => change(a) - change(b),
    frequent: (a, b) => b.draws - a.draws,
  };
  let page = 0;

  function element(name, className, text) {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function gradeMark(grade) {
    if (grade === null) return element("span", "grade unjudged", "not judged");
    const name = `${grade} ${data.grades[grade] ?? ""}`.trim();
    const mark = element("span", `grade g${Math.min(grade, 3)}`);
    mark.title = name;
    mark.append(element("span", "", name));
    return mark;
  }

  function place(item, i, other, isTreatment) {
    const there = other.findIndex(([one]) => one === item);
    if (there < 0) return isTreatment ? "new" : "gone";
    return isTreatment && there !== i ? `was ${there + 1}` : "";
  }

  function arm(name, list, other, isTreatment) {
    const box = element("div", "arm");
    box.append(element("h4", "", name));
    if (!list.length) {
      box.append(element("p", "nothing", "nothing found"));
      return box;
    }
    const lines = element("ol");
    lines.append(...list.map(([item, grade], i) => {
      const line = element("li");
      const [id, title] = data.items[item];
      const cell = element("div", "item");
      const text = element("span", "title", title);
      text.dir = "auto";
      text.title = `${id}: ${title}`;
      cell.append(text);
      line.append(element("span", "rank", String(i + 1)), cell, element("span", "was", place(item, i, other, isTreatment)), gradeMark(grade));
      return line;
    }));
    box.append(lines);
    return box;
  }

  function card(query) {
    const box = element("article", "query");
    const head = element("div", "query-head");
    const heading = element("h3", "", query.text);
    heading.dir = "auto";
    heading.title = query.id;
    const moved = element("span", "change");
    moved.append(element("b", "", signed(change(query))), ` ${word[outcome(query)]}: ${data.metric} ${query.a.toFixed(4)} to ${query.b.toFixed(4)}`);
    head.append(heading, moved);
    const more = [`${Math.round(100 * query.overlap)} % of the items in both`];
    if (data.byFrequency) more.unshift(`drawn ${many(query.draws, "time", "times")}`);
    head.append(element("span", "soft small", more.join(", ")));
    const arms = element("div", "arms");
    arms.append(arm("Control", query.lists[0], query.lists[1], false), arm("Treatment", query.lists[1], query.lists[0], true));
    box.append(head, arms);
    return box;
  }

  function wanted() {
    const which = $("which").value;
    const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    return data.queries
      .filter((query) => (which === "all" || outcome(query) === which) && words.every((one) => lower.get(query).includes(one)))
      .sort(orders[$("order").value]);
  }

  function render() {
    const queries = wanted();
    const last = Math.max(0, Math.ceil(queries.length / PAGE) - 1);
    page = Math.min(Math.max(page, 0), last);
    const shown = queries.slice(page * PAGE, (page + 1) * PAGE);
    $("list").replaceChildren(...shown.map(card));
    const first = page * PAGE + 1;
    $("status").textContent = queries.length
      ? `${count(first)} to ${count(first + shown.length - 1)} of ${many(queries.length, "query", "queries")}`
      : "No such query.";
    for (const id of ["previous", "following"]) $(id).hidden = last === 0;
    $("previous").disabled = page === 0;
    $("following").disabled = page === last;
  }

  const turn = (by) => { page += by; render(); $("queries").scrollIntoView({ block: "start" }); };
  if (!data.byFrequency) $("order").querySelector('[value="frequent"]').remove();
  for (const id of ["which", "order", "find"]) $(id).addEventListener("input", () => { page = 0; render(); });
  $("previous").addEventListener("click", () => turn(-1));
  $("following").addEventListener("click", () => turn(1));
  for (const id of ["controls", "pager"]) $(id).hidden = false;
  render();
}
