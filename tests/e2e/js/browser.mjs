// Opens a page in Chromium, in each of several views, and says what a person would find there. Told on stdin:
// { executable, url, views: [{ width, height, scheme, picture, hostile }] }
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync", "--hide-scrollbars",
];
const LIVE = 30_000;
const MARKUP = '<img src=x onerror="window.acted = true"><script>window.acted = true</script>';

// In the page: what is shown, by the names of the fields, and what would keep somebody from reading or reaching it.
function look() {
  const luminance = ([r, g, b]) => {
    const linear = [r, g, b].map((c) => (c / 255 <= 0.03928 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const [r, g, b, a = 1] = channels(getComputedStyle(at).backgroundColor);
      if (a > 0) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const contrast = (node) => {
    const [light, dark] = [luminance(channels(getComputedStyle(node).color)), luminance(behind(node))].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const faint = new Set();
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const node = text.parentElement;
    const is_shown = text.data.trim() && node.checkVisibility() && !node.closest("script, style, noscript");
    if (is_shown && contrast(node) < 4.5) faint.add(`${text.data.trim()} (${contrast(node).toFixed(2)})`);
  }
  const names = [...document.querySelectorAll("[data-field]")].map((node) => [node.dataset.field, node.textContent]);
  const rows = (selector) => [...document.querySelectorAll(selector)].map((row) => row.innerText.replace(/\s+/g, " ").trim());
  return {
    title: document.title,
    state: document.getElementById("state").textContent,
    fields: Object.fromEntries(names),
    slots: [...document.querySelectorAll("#slots i")].map((slot) => slot.className || "free"),
    busy: rows("#busy tr"),
    waiting: rows("#waiting tr"),
    providers: rows("#providers tr"),
    errors: rows("#errors li"),
    landmarks: ["header", "main", "footer"].filter((name) => document.querySelector(`body > ${name}`)),
    unnamed: [...document.querySelectorAll("section")].filter((section) => !document.getElementById(section.getAttribute("aria-labelledby"))).length,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    faint: [...faint],
    background: getComputedStyle(document.body).backgroundColor,
    images: document.images.length,
    acted: window.acted === true,
    text: document.body.innerText,
  };
}

// What the page reads, with markup in the place of every text.
function poisoned(value) {
  if (typeof value === "string") return MARKUP;
  if (Array.isArray(value)) return value.map(poisoned);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, poisoned(item)]));
}

async function reach(page) {
  const reached = [];
  for (let n = 0; n < 12; n++) {
    await page.keyboard.press("Tab");
    const found = await page.evaluate(() => {
      const at = document.activeElement;
      if (!at || at === document.body) return null;
      return { name: at.textContent, is_marked: getComputedStyle(at).outlineStyle !== "none" };
    });
    if (!found || reached.some((one) => one.name === found.name)) break;
    reached.push(found);
  }
  return reached;
}

async function visit(browser, url, view) {
  const context = await browser.newContext({
    viewport: { width: view.width, height: view.height },
    colorScheme: view.scheme,
    reducedMotion: "reduce",
  });
  const page = await context.newPage();
  const complaints = [];
  const requests = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => requests.push(request.url()));
  if (view.hostile) {
    await page.route("**/-/status", async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, json: poisoned(await answer.json()) });
    });
  }
  await page.goto(url);
  await page.waitForFunction(() => document.querySelector("[data-field]"), undefined, { timeout: LIVE });
  if (view.picture) await page.screenshot({ path: view.picture, fullPage: view.whole ?? false });
  const seen = await page.evaluate(look);
  const first = requests.length;
  await page.waitForResponse((answer) => answer.url().endsWith("/-/status"), { timeout: LIVE }); // it asks again by itself
  const reached = await reach(page);
  await page.getByRole("button", { name: "Pause" }).press("Enter");
  const paused = await page.getByRole("button", { name: "Resume" }).getAttribute("aria-pressed");
  await context.close();
  return { ...seen, complaints, requests, first, reached, paused };
}

const told = JSON.parse(await new Promise((resolve) => {
  let text = "";
  process.stdin.on("data", (piece) => (text += piece)).on("end", () => resolve(text));
}));
const browser = await chromium.launch({ executablePath: told.executable, args: FLAGS });
try {
  const seen = [];
  for (const view of told.views) seen.push(await visit(browser, told.url, view));
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
