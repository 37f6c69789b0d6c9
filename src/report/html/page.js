"use strict";
(() => {
  const make = (name, text) => Object.assign(document.createElement(name), { textContent: text });
  const units = { ms: 0.001, s: 1, min: 60, h: 3600, d: 86400 };

  // The number in a cell, with its unit; "never" is last, and a cell without a number is a text.
  const value = (text) => {
    if (text === "never") return Infinity;
    if (text === "" || text === "-") return -Infinity;
    const found = /^[<>]?(-?[\d,]+(?:\.\d+)?)(?:%| (ms|s|min|h|d))?$/.exec(text);
    return found ? Number(found[1].replaceAll(",", "")) * (units[found[2]] ?? 1) : text;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a === b ? 0 : a < b ? -1 : 1;
    return String(a).localeCompare(String(b), "en");
  };

  // A click on the title of a column sorts its table; another click reverses it.
  const sortable = (table) => {
    const titles = [...table.tHead.rows[0].cells];
    titles.forEach((title, column) => {
      const button = make("button", title.textContent);
      button.type = "button";
      title.replaceChildren(button);
      button.addEventListener("click", () => {
        const falls = title.getAttribute("aria-sort") === "descending" ? false
          : title.getAttribute("aria-sort") === "ascending" ? true : title.classList.contains("n");
        titles.forEach((other) => other.removeAttribute("aria-sort"));
        title.setAttribute("aria-sort", falls ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [value(row.cells[column].textContent.trim()), row]);
        rows.sort((a, b) => (falls ? -1 : 1) * compare(a[0], b[0]));
        body.append(...rows.map(([, row]) => row));
      });
    });
  };

  // A word hides the rows and the tasks that lack it, and says how many are left.
  const filterable = (place, tables) => {
    const label = make("label", "Show only rows with: ");
    const input = document.createElement("input");
    input.type = "search";
    label.append(input);
    const told = make("span", "");
    told.setAttribute("role", "status");
    place.append(label, told);
    const rows = tables.flatMap((table) => [...table.tBodies[0].rows]);
    const tasks = [...document.querySelectorAll("details")];
    const texts = new Map([...rows, ...tasks].map((part) => [part, part.textContent.toLowerCase()]));
    input.addEventListener("input", () => {
      const word = input.value.trim().toLowerCase();
      texts.forEach((text, part) => { part.hidden = !text.includes(word); });
      const left = rows.filter((row) => !row.hidden).length;
      told.textContent = word ? `${left} of ${rows.length} rows` : "";
    });
  };

  // Buttons and keys show a part of the time of the lanes.
  const zoomable = (place) => {
    const picture = document.getElementById(place.dataset.zoom);
    const [from, until] = [Number(picture.dataset.from), Number(picture.dataset.until)];
    const height = picture.viewBox.baseVal.height;
    const ends = ["from", "until"].map((end) => document.getElementById(`${picture.id}-${end}`));
    let [left, wide] = [0, 10000];
    const show = () => {
      wide = Math.min(10000, Math.max(5, wide));
      left = Math.min(10000 - wide, Math.max(0, left));
      picture.setAttribute("viewBox", `${left} 0 ${wide} ${height}`);
      [left, left + wide].forEach((at, i) => {
        const time = new Date(from + (until - from) * at / 10000);
        ends[i].textContent = `${time.toISOString().slice(0, 19)}Z`;
      });
    };
    const zoom = (factor, at = 0.5) => {
      const next = Math.min(10000, Math.max(5, wide * factor));
      left += (wide - next) * at;
      wide = next;
      show();
    };
    const actions = [
      ["+", "Zoom in", () => zoom(0.5)],
      ["\u2212", "Zoom out", () => zoom(2)],
      ["\u2190", "Earlier", () => { left -= wide / 4; show(); }],
      ["\u2192", "Later", () => { left += wide / 4; show(); }],
      ["all", "Show all of the time", () => { [left, wide] = [0, 10000]; show(); }],
    ];
    for (const [sign, title, act] of actions) {
      const button = make("button", sign);
      button.type = "button";
      button.setAttribute("aria-label", title);
      button.title = title;
      button.addEventListener("click", act);
      place.append(button);
    }
    let start = null;
    picture.addEventListener("pointerdown", (event) => { start = [event.clientX, left]; });
    addEventListener("pointerup", () => { start = null; });
    picture.addEventListener("pointermove", (event) => {
      if (start === null) return;
      left = start[1] - (event.clientX - start[0]) / picture.getBoundingClientRect().width * wide;
      show();
    });
    picture.addEventListener("wheel", (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      const box = picture.getBoundingClientRect();
      zoom(event.deltaY < 0 ? 0.8 : 1.25, (event.clientX - box.left) / box.width);
    }, { passive: false });
  };

  // A link to a task opens it.
  const reveal = () => {
    const part = location.hash && document.getElementById(location.hash.slice(1));
    const task = part && part.closest("details");
    if (task) task.open = true;
  };

  const tables = [...document.querySelectorAll("table")];
  tables.filter((table) => !table.closest("details")).forEach(sortable);
  const place = document.getElementById("filter");
  if (place) filterable(place, tables.filter((table) => !table.closest("details")));
  document.querySelectorAll(".zoom").forEach(zoomable);
  addEventListener("hashchange", reveal);
  reveal();
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((task) => { task.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach((task) => { task.open = false; }));
})();
