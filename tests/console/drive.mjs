// Drives the fleet console in Chromium as people would: with two widths, in both schemes, by
// keyboard, and once without script. It says "rows" when it looks at nodes, "watching" at a rollout
// and "alerted" at alerts, and ends with the first thing that is wrong.
//
// node drive.mjs '{"modules": …, "chromium": …, "link": …, "selector": …, "name": …,
//                  "rollout": …, "shots": …}'
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { readFileSync } from "node:fs";

const given = JSON.parse(process.argv[2]);
const require = createRequire(join(given.modules, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const origin = new URL(given.link).origin;
const within = 30_000;

const browser = await chromium.launch({
  executablePath: given.chromium,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

/** A browser of its own, which notes everything that goes wrong in it. */
async function open(options) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true, baseURL: origin, ...options });
  context.setDefaultTimeout(within);
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (it) => it.type() === "error" && wrong.push(`console: ${it.text()}`));
  page.on("pageerror", (it) => wrong.push(`script: ${it}`));
  page.on("request", (it) => it.url().startsWith(origin) || wrong.push(`elsewhere: ${it.url()}`));
  page.on("response", (it) => it.status() >= 400 && wrong.push(`${it.status()}: ${it.url()}`));
  return { context, page, wrong };
}

/** What every page has to be; `name` keeps a picture of it. */
async function check(page, name, { shoot, audit }) {
  const heading = await page.locator("h1").allTextContents();
  assert.equal(heading.length, 1, `${name}: one heading, not ${heading}`);
  const [whole, seen] = await page.evaluate(() => {
    const root = document.documentElement;
    return [root.scrollWidth, root.clientWidth];
  });
  assert.ok(whole <= seen, `${name} is ${whole} pixels wide on ${seen}`);
  if (audit) {
    // Not as a script of the page: its policy would forbid that.
    await page.evaluate(axe);
    const found = await page.evaluate(() => globalThis.axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"] }));
    const told = found.violations.map((it) => `${it.id}: ${it.help}: ${it.nodes.map((node) => node.html).join("; ")}`);
    assert.deepEqual(told, [], `${name} is hard to use for some`);
  }
  if (shoot?.(name)) {
    await page.screenshot({ path: join(given.shots, `console-${name}.png`) });
  }
}

/** Waits until a part of the page has this in it. */
async function says(page, part, text) {
  await page.locator(part).filter({ hasText: text }).waitFor();
}

async function keyboard(page) {
  await page.goto("/");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
  await page.goto("/");
  const reached = [];
  for (let press = 0; press < 6; press += 1) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.textContent));
  }
  const names = reached.map((text) => text.replace(/ \d+ open$/, "").trim());
  assert.deepEqual(names, ["To the content", "Overview", "Nodes", "Alerts", "Rollouts", "Audit"]);
}

/** Overview, search, node, explanation, alerts, rollouts, audit. */
async function visit(page, how) {
  await page.goto("/");
  await page.getByRole("img", { name: /each state over time/ }).waitFor();
  await check(page, `overview${how.suffix}`, how);

  await page.getByRole("link", { name: "Nodes", exact: true }).click();
  await says(page, "#count", /\d+ nodes match\./);
  await check(page, `nodes${how.suffix}`, how);
  const field = page.getByRole("searchbox", { name: "Selector" });
  await field.pressSequentially("role = (");
  await page.getByRole("alert").getByText("SELECTOR_INVALID").waitFor();
  await says(page, "#count", /column 8/);
  await check(page, `selector${how.suffix}`, how);
  await field.fill(given.selector);
  await says(page, "#count", "1 node matches.");
  assert.equal(new URL(page.url()).searchParams.get("selector"), given.selector);

  await page.getByRole("link", { name: given.name }).click();
  await page.getByRole("heading", { level: 1, name: given.name }).waitFor();
  assert.ok(await page.locator(".timeline li").count() >= 3);
  await check(page, `node${how.suffix}`, how);
  await page.getByRole("link", { name: "Explain bundle/app" }).click();
  await page.getByText("Verdict", { exact: true }).waitFor();
  await check(page, `explain${how.suffix}`, how);

  await page.getByRole("link", { name: /^Alerts/ }).click();
  await page.getByRole("region", { name: "Acknowledged" }).waitFor();
  await check(page, `alerts${how.suffix}`, how);
  await page.getByRole("link", { name: "Runbook quarantine" }).first().click();
  await page.getByRole("heading", { level: 2, name: "What to do" }).waitFor();
  await check(page, `runbook${how.suffix}`, { audit: how.audit });

  await page.getByRole("link", { name: "Rollouts" }).click();
  await page.getByRole("link", { name: given.rollout }).click();
  await page.getByRole("progressbar").waitFor();
  await check(page, `rollout${how.suffix}`, how);

  await page.getByRole("link", { name: "Audit" }).click();
  await page.getByRole("checkbox", { name: "Only what was denied" }).check();
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByText("No entry is such a one.").waitFor();
  await page.goBack();
  await page.getByRole("region", { name: "Entries" }).waitFor();
  await check(page, `audit${how.suffix}`, how);
}

/** The row of a node is made anew under the eyes of whoever looks at it. */
async function rows(page) {
  await page.goto(`/nodes?selector=${encodeURIComponent(given.selector)}`);
  await page.evaluate(() => { globalThis.stays = true; });
  console.log("rows");
  await says(page, "#results", `${given.name}-renamed`);
  await says(page, "#count", "1 node matches.");
  assert.ok(await page.evaluate(() => globalThis.stays), "it was loaded again");
}

/** The page moves by itself: it is never loaded again. */
async function watch(page) {
  await page.goto(`/rollouts/${given.rollout}`);
  await says(page, "#progress", "Approval");
  await page.evaluate(() => { globalThis.stays = true; });
  console.log("watching");
  await says(page, "#progress", "succeeded");
  assert.equal(await page.getByRole("progressbar").getAttribute("value"), String(given.nodes));
  assert.ok(await page.evaluate(() => globalThis.stays), "it was loaded again");
}

/** What is refused for a moment is said, and asked for again; no other page gets into this one. */
async function refused(page) {
  let refusals = 0;
  const refuse = (status) => (route) => {
    refusals -= 1;
    return refusals < 0 ? route.fallback() : route.fulfill({ status, body: "<h1>Refused</h1>" });
  };
  await page.route(/part=1/, refuse(429));
  await page.goto("/nodes");
  refusals = 1;
  await page.getByRole("searchbox", { name: "Selector" }).fill(given.selector);
  await says(page, "#count", "busy");
  assert.equal(await page.locator("#results h1").count(), 0);
  await says(page, "#count", "1 node matches.");
  await page.route(/events$/, refuse(503));
  refusals = 2;
  await page.goto(`/rollouts/${given.rollout}`);
  await says(page, "#told", "may be old");
  await page.waitForFunction(() => document.getElementById("told").textContent === "");
}

/** An alert goes from open to acknowledged under the eyes of somebody who is at its link. */
async function alerts(page) {
  await page.goto("/alerts");
  await says(page, "#count", "1 alert is open: critical.");
  await says(page, "#open-alerts", "1 open");
  await page.evaluate(() => { globalThis.stays = true; });
  const link = page.getByRole("region", { name: "Open" }).getByRole("link", { name: "Runbook quarantine" });
  await link.focus();
  console.log("alerted");
  await says(page, "#count", "No alert is open.");
  assert.equal(await page.locator("#open-alerts").textContent(), "");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Runbook quarantine");
  assert.ok(await page.evaluate(() => globalThis.stays), "it was loaded again");
}

/** Everything that the script does can be done without it. */
async function plain(page) {
  await page.goto("/nodes");
  await page.getByRole("searchbox", { name: "Selector" }).fill(given.selector);
  await page.getByRole("button", { name: "Search" }).click();
  await says(page, "#count", "1 node matches.");
}

const first = await open({ viewport: { width: 1600, height: 1000 }, colorScheme: "light" });
await first.page.goto(given.link);
await first.page.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
const storageState = await first.context.storageState();
assert.equal(await first.page.evaluate(() => document.cookie), "", "no script sees the cookie");
await keyboard(first.page);
await visit(first.page, { suffix: "", audit: true });
const all = [first];
if (given.shots) {
  // Of a size at which they can be read where they are shown.
  const shots = await open({ viewport: { width: 1000, height: 640 }, colorScheme: "light", storageState });
  await visit(shots.page, { suffix: "", shoot: () => true });
  const narrow = await open({ viewport: { width: 400, height: 640 }, colorScheme: "dark", storageState });
  await visit(narrow.page, { suffix: "-narrow-dark", shoot: (name) => /^(overview|node|alerts)-/.test(name) });
  all.push(shots, narrow);
}
// Of this one everything that is refused would be wrong.
const busy = await open({ storageState });
await refused(busy.page);
await busy.context.close();
await rows(first.page);
await watch(first.page);
await check(first.page, "rollout-done", { audit: true });
await alerts(first.page);
await check(first.page, "alerts-seen", { audit: true });

const others = [
  { viewport: { width: 400, height: 800 }, colorScheme: "dark", suffix: "-narrow-dark", audit: true },
  { viewport: { width: 400, height: 800 }, colorScheme: "light", suffix: "-narrow" },
  { viewport: { width: 1600, height: 1000 }, colorScheme: "dark", suffix: "-dark", audit: true },
];
for (const { suffix, audit, ...options } of others) {
  const other = await open({ ...options, storageState });
  await visit(other.page, { suffix, audit });
  all.push(other);
}
const scriptless = await open({ storageState, javaScriptEnabled: false });
await plain(scriptless.page);
all.push(scriptless);

assert.deepEqual(all.flatMap((it) => it.wrong), []);
await browser.close();
