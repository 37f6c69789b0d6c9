// Opens HTML pages in headless Chromium without a network: at two widths, in both themes, with scripts on and off.
// Prints what it finds as JSON. usage: check.mjs MODULES CHROMIUM PICTURES PAGE...
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, chromium, pictures, ...pages] = process.argv.slice(2);
const load = createRequire(join(resolve(modules), "node_modules", "x.js"));
const puppeteer = load("puppeteer-core");
const axe = readFileSync(load.resolve("axe-core/axe.min.js"), "utf8");
// Milliseconds that any step may take. The number is large, so that a page does not fail because the machine is busy.
const PATIENCE = 180_000;
const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"], protocolTimeout: PATIENCE });

// Sorts by the first column with at least two different numbers. Returns its numbers after one click and after two.
const sort = () => {
  const numbers = (table, column) => [...table.tBodies[0].rows].map((row) => Number(row.cells[column].textContent.replaceAll(",", "")));
  for (const table of document.querySelectorAll("table")) {
    for (const title of table.querySelectorAll("th.n")) {
      const column = [...title.parentNode.cells].indexOf(title);
      if (!title.querySelector("button") || new Set(numbers(table, column).filter(Number.isFinite)).size < 2) continue;
      if (numbers(table, column).some(Number.isNaN)) continue;
      title.querySelector("button").click();
      const falling = numbers(table, column);
      title.querySelector("button").click();
      return { falling, rising: numbers(table, column), sort: title.getAttribute("aria-sort") };
    }
  }
  return null;
};

const filter = (word) => {
  const input = document.querySelector("input[type=search]");
  const rows = () => [...document.querySelectorAll("tbody tr")].filter((row) => !row.closest("details"));
  const shown = () => rows().filter((row) => !row.hidden);
  const all = rows().length;
  input.value = word;
  input.dispatchEvent(new Event("input"));
  const left = shown();
  const result = { all, left: left.length, fit: left.every((row) => row.textContent.toLowerCase().includes(word)) };
  input.value = "";
  input.dispatchEvent(new Event("input"));
  return { ...result, again: shown().length };
};

const zoom = () => {
  const lanes = document.getElementById("lanes");
  if (!lanes) return null;
  const before = lanes.getAttribute("viewBox");
  document.querySelector("button[aria-label='Zoom in']").click();
  const after = lanes.getAttribute("viewBox");
  document.querySelector("button[aria-label='Show all of the time']").click();
  return { before, after, again: lanes.getAttribute("viewBox") };
};

// Sorts a table, zooms and opens a task with keys alone, and returns whether that worked and the focus is visible.
const keyboard = async (page) => {
  const result = {};
  const focus = (selector) => page.evaluate((selector) => {
    const part = document.querySelector(selector);
    if (part) part.focus();
    return Boolean(part) && document.activeElement === part;
  }, selector);
  if (await focus("th button")) {
    await page.keyboard.press("Enter");
    result.sorted = await page.evaluate(() => document.activeElement.parentNode.getAttribute("aria-sort"));
    result.outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    await page.keyboard.press("Tab");
    result.next = await page.evaluate(() => document.activeElement.tagName);
  }
  if (await focus(".zoom button")) {
    const shown = () => page.evaluate(() => document.getElementById("lanes").getAttribute("viewBox"));
    const before = await shown();
    await page.keyboard.press("Space");
    result.zoomed = before !== await shown();
  }
  if (await focus("summary")) {
    const isOpen = () => page.evaluate(() => document.activeElement.parentNode.open);
    const before = await isOpen();
    await page.keyboard.press("Enter");
    result.opened = !before && await isOpen();
    await page.keyboard.press("Enter");
  }
  return result;
};

// Prints the page. Returns how many tasks are open on paper, and whether they are closed again afterwards.
const print = async (page) => {
  const open = () => page.evaluate(() => document.querySelectorAll("details[open]").length);
  await page.evaluate(() => {
    addEventListener("beforeprint", () => { window.printed = document.querySelectorAll("details[open]").length; });
  });
  const before = await open();
  const paper = await page.pdf({ format: "A4", timeout: PATIENCE });
  const result = { bytes: paper.length, opened: await page.evaluate(() => window.printed), tasks: await page.evaluate(() => document.querySelectorAll("details").length), restored: before === await open() };
  await page.emulateMediaType("print");
  result.hidden = await page.evaluate(() => [...document.querySelectorAll("nav, #filter, .zoom")].every((part) => getComputedStyle(part).display === "none"));
  result.background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.emulateMediaType(null);
  return result;
};

const found = [];
for (const file of pages) {
  for (const [scripts, width, theme] of [[true, 400, "light"], [true, 1600, "dark"], [false, 400, "dark"], [false, 1600, "light"]]) {
    const page = await browser.newPage();
    page.setDefaultTimeout(PATIENCE);
    const result = { page: basename(file), scripts, width, theme, requests: [], errors: [] };
    const url = pathToFileURL(resolve(file)).href;
    page.on("request", (request) => request.url() === url || result.requests.push(request.url()));
    page.on("console", (message) => ["error", "warn"].includes(message.type()) && result.errors.push(message.text()));
    page.on("pageerror", (error) => result.errors.push(String(error)));
    page.on("dialog", async (dialog) => { result.errors.push(`dialog ${dialog.message()}`); await dialog.dismiss(); });
    await page.setOfflineMode(true);
    await page.setJavaScriptEnabled(scripts);
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
    await page.setViewport({ width, height: 1000 });
    await page.goto(url, { waitUntil: "load" });
    Object.assign(result, await page.evaluate(() => ({
      title: document.title,
      executed: window.executed ?? null,
      scripts_in_page: document.querySelectorAll("script").length,
      handlers: [...document.querySelectorAll("*")].filter((e) => [...e.attributes].some((a) => a.name.startsWith("on"))).length,
      images: document.querySelectorAll("img, iframe, object, embed, link").length,
      charts: [...document.querySelectorAll("svg[role=img]")].map((svg) => [svg.id, svg.querySelectorAll("rect, path").length]),
      tables: document.querySelectorAll("table").length,
      folded: [...document.querySelectorAll("details")].filter((part) => part.firstChild.textContent.endsWith(" as a table")).map((part) => part.querySelectorAll("tbody tr").length),
      wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    })));
    if (pictures !== "-") await page.screenshot({ path: join(pictures, `${basename(file)}-${scripts ? "on" : "off"}-${width}-${theme}.png`) });
    if (scripts) {
      Object.assign(result, { sort: await page.evaluate(sort), filter: await page.evaluate(filter, "e"), zoom: await page.evaluate(zoom) });
      Object.assign(result, { keyboard: await keyboard(page), print: await print(page) });
      await page.evaluate(axe);
      const report = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
      result.axe = report.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200)).join(" | ")}`);
    }
    found.push(result);
    await page.close();
  }
}
await browser.close();
console.log(JSON.stringify(found));
