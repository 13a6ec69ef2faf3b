// SPDX-License-Identifier: Apache-2.0
// The page of `nibble serve` in Debian's Chromium, as a person uses it: by keyboard and mouse, on a desktop and a phone, light and dark, in both
// languages, with and without a key, and with a model that writes what is meant to do harm.
//
//   node tests/clients/page.mjs PLAYWRIGHT NIBBLE MODEL SCREENSHOTS
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const [playwright, nibble, model, screenshots] = process.argv.slice(2);
const { chromium } = createRequire(import.meta.url)(playwright);
mkdirSync(screenshots, { recursive: true });
const scratch = mkdtempSync(join(tmpdir(), "nibble-page-"));
const template = join(scratch, "lines.jinja");
writeFileSync(template, "{% for m in messages %}{{ m.content }}\n{% endfor %}{# <think> </think> #}");

const failures = [];
let checks = 0;
function check(what, holds) {
  ++checks;
  if (!holds) failures.push(what);
}

function serve(...options) {
  const server = spawn(nibble, ["serve", model, "--port", "0", "--quiet", ...options], { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, NIBBLE_API_KEY: "" } });
  return new Promise((resolve, reject) => {
    const told = [];
    createInterface({ input: server.stderr }).on("line", (line) => {
      told.push(line);
      const found = /at (http:\/\/[^ ]+)\/v1/.exec(line);
      if (found) resolve({ url: found[1], stop: () => new Promise((done) => server.once("exit", done) && server.kill("SIGINT")) });
    });
    server.once("exit", (code) => reject(new Error(`the server ended with ${code}: ${told.join("\n")}`)));
  });
}

// A page that nothing may go wrong on: no error on the console, no break of its policy, no request to anywhere else.
async function open(browser, server, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, colorScheme: "light", locale: "en-US", ...options });
  if (options.refusesStorage) {
    await context.addInitScript(() => {
      for (const name of ["localStorage", "sessionStorage"]) Object.defineProperty(window, name, { get: () => { throw new DOMException("refused", "SecurityError"); } });
    });
  }
  const page = await context.newPage();
  const allowed = options.allowed ?? [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !allowed.some((part) => message.text().includes(part))) failures.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => failures.push(`error of the page: ${error.message}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(server.url + "/") && !request.url().startsWith("data:")) failures.push(`a request to elsewhere: ${request.url()}`);
  });
  page.on("dialog", (dialog) => failures.push(`a dialog opened: ${dialog.message()}`) && dialog.dismiss());
  await page.goto(server.url + (options.at ?? "/"));
  await page.waitForSelector("html[data-ready]");
  return page;
}

const idle = (page) => page.waitForSelector("#stop", { state: "hidden" });
const answers = (page) => page.locator("#messages .assistant > .body").allInnerTexts();

// Changes what the page sends before it is sent.
const changing = (page, change) => page.route(/completions$/, (route) => {
  const body = route.request().postDataJSON();
  change(body);
  return route.continue({ postData: JSON.stringify(body) });
});

// An answer as if a model had written it, in small pieces.
const answering = (page, text, reasoning = "") => page.route(/completions$/, (route) => {
  const event = (choices, more = {}) => `data: ${JSON.stringify({ id: "x", object: "chat.completion.chunk", created: 1, model: "m", choices, ...more })}\n\n`;
  const pieces = (all, name) => (all.match(/[^]{1,37}/gu) ?? []).map((piece) => event([{ index: 0, delta: { [name]: piece }, finish_reason: null }])).join("");
  return route.fulfill({ status: 200, contentType: "text/event-stream", body: pieces(reasoning, "reasoning_content") + pieces(text, "content") +
    event([{ index: 0, delta: {}, finish_reason: "stop" }]) + event([], { usage: { prompt_tokens: 9, completion_tokens: 1234, total_tokens: 1243 } }) + "data: [DONE]\n\n" });
});

async function looksWhole(page, what) {
  check(`${what}: no wider than the window`, await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
  check(`${what}: every control has a name`, await page.evaluate(() => [...document.querySelectorAll("button, input, select, textarea, nav a")].filter((node) => node.checkVisibility())
    .every((node) => (node.getAttribute("aria-label") || node.textContent.trim() || node.closest("label")?.textContent.trim() || "") !== "")));
  check(`${what}: no text is left out`, await page.evaluate(() => [...document.querySelectorAll("[data-text]")].every((node) => node.textContent.trim() !== "")));
}

const shot = (page, name) => page.screenshot({ path: join(screenshots, `serve-${name}.png`) });

// --- what is tried -----------------------------------------------------------------------------------------------------

async function chat(browser, server) {
  const page = await open(browser, server, { allowed: ["400 (Bad Request)"] });  // which the page shows, too
  check("the field has the focus", await page.evaluate(() => document.activeElement.id === "prompt"));
  await page.click("summary >> nth=0");
  await page.fill("label:has([data-text=max_tokens]) input >> nth=0", "48");
  await page.fill("label:has([data-text=seed]) input >> nth=0", "5");
  await page.click("summary >> nth=0");
  await page.focus("#prompt");
  await page.keyboard.type("Once upon a time");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("there was");
  check("Shift-Enter begins a line", (await page.inputValue("#prompt")) === "Once upon a time\nthere was");
  await page.keyboard.press("Enter");
  await idle(page);
  const [first] = await answers(page);
  check("an answer is there", first.length > 10);
  const facts = await page.locator("#messages .facts").last().innerText();
  check(`its tokens and speed are told: ${facts}`, /\d+ tokens\s.*tokens\/s.*prompt \d+/s.test(facts));
  await page.click("text=Regenerate");
  await idle(page);
  check("the same seed gives the same answer", (await answers(page))[0] === first && (await answers(page)).length === 1);

  await page.click("[data-text=edit]");
  await page.fill(".editing textarea", "The dog was");
  await page.keyboard.press("Enter");
  await idle(page);
  check("an edited message is answered anew", (await page.locator("#messages > li").count()) === 2 && (await answers(page))[0] !== first);
  await page.click("[data-text=edit]");
  await page.keyboard.press("Escape");
  check("Escape leaves a message as it was", (await page.locator(".message.user > .body").innerText()) === "The dog was");

  await page.reload();
  await page.waitForSelector(".message.assistant");
  check("the conversation outlives a reload", (await page.locator("#messages > li").count()) === 2);
  await looksWhole(page, "chat");
  await shot(page, "chat");

  // A long answer among others, which take their time, stopped by Escape.
  await changing(page, (body) => Object.assign(body, { max_tokens: 450, ignore_eos: true, n: 8 }));
  await page.fill("#prompt", "Go on");
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelectorAll(".assistant > .body")[1]?.textContent.length > 40);
  await page.keyboard.press("Escape");
  await idle(page);
  const stopped = await page.locator("#messages .facts").last().innerText();
  check(`a stopped answer says so: ${stopped}`, stopped.includes("Stopped after"));
  const state = async () => (await (await page.request.get(server.url + "/metrics")).text());
  for (let i = 0; i < 100 && !(await state()).includes("nibble_num_requests_running 0\n"); ++i) await new Promise((done) => setTimeout(done, 50));
  check("and the server does not go on with it", /finished_reason="cancelled"\} [1-9]/.test(await state()));
  await page.unroute(/completions$/);

  // What the server refuses is told, and can be tried again.
  await changing(page, (body) => Object.assign(body, { temperature: -1 }));
  await page.fill("#prompt", "And");
  await page.keyboard.press("Enter");
  await idle(page);
  check("a refusal is shown", (await page.locator("#messages .facts").last().innerText()).includes("temperature"));
  await page.unroute(/completions$/);

  // Neither it nor what it was about is told to the model, after a reload, too; the same question asked again is.
  await page.reload();
  await page.waitForSelector(".message.assistant >> nth=2");
  let sent = null;
  await changing(page, (body) => {
    sent = body.messages;
    body.max_tokens = 4;
  });
  await page.fill("#prompt", "Then");
  await page.keyboard.press("Enter");
  await idle(page);
  check(`a failed answer is not sent: ${JSON.stringify(sent)}`, sent?.map((message) => message.role).join() === "user,assistant,user,assistant,user" &&
    sent.every((message) => message.content !== "" && message.content !== "And") && sent.at(-1).content === "Then");
  await page.unroute(/completions$/);
  await page.click("[data-text=new_chat]");
  check("a new chat is empty", (await page.locator("#messages > li").count()) === 0 && (await page.isVisible("#welcome")));
  await page.context().close();
}

const kHostile = `<script>document.title = "script"</script><img src=x onerror="document.title='image'"><iframe src="https://example.org"></iframe>

[a link](javascript:document.title='link') [data](data:text/html,<script>1</script>) [fine](https://example.org/a_(b)) ![picture](https://example.org/p.png) <https://example.org/x>
[odd](JaVaScRiPt:alert(1)) [tab](java\tscript:alert(1)) <svg onload=alert(1)> <a href="javascript:alert(1)">x</a> www &lt;b&gt; https://example.org/plain.

| a | b |
|---|--:|
| <b>x</b> | \`1|2\` |

${"*".repeat(3000)}${"[".repeat(3000)}${"_a *b ".repeat(2000)}${"`".repeat(999)} ${"<".repeat(2000)}

${"> ".repeat(400)}deep

${Array.from({ length: 60 }, (_, i) => " ".repeat(2 * i) + "- item").join("\n")}

|${" c |".repeat(900)}
|${"---|".repeat(900)}

| x | y |
|---|---|
${"| 1 | 2 |\n".repeat(5000)}
\`\`\`html
<script>alert(1)</script>
\`\`\``;

const kFine = `# A heading

Some *emphasis*, **strong text**, \`code\`, ~~struck~~ and a [link](https://example.org/).

1. First
2. Second
   - nested
   - list
3. Third

> A quote that says something.

| format | bits | size |
|:--|--:|--:|
| \`q4_k_m\` | 4.83 | 4.1 GB |
| \`int3:g128\` | 3.13 | 2.7 GB |

\`\`\`python
def bits(model):
    return 8 * model.bytes / model.parameters
\`\`\`

- [x] done
- [ ] to do`;

// Markdown, and the HTML that the reference implementation of CommonMark (commonmark.js 0.31.2) makes of it.
const kEmphasis = [
  ["***a***", "<em><strong>a</strong></em>"],
  ["***a** b*", "<em><strong>a</strong> b</em>"],
  ["***a* b**", "<strong><em>a</em> b</strong>"],
  ["**a *b***", "<strong>a <em>b</em></strong>"],
  ["*a **b***", "<em>a <strong>b</strong></em>"],
  ["*a **b** c*", "<em>a <strong>b</strong> c</em>"],
  ["**a *b* c**", "<strong>a <em>b</em> c</strong>"],
  ["___a___ b", "<em><strong>a</strong></em> b"],
  ["**a*", "*<em>a</em>"],
  ["****a****", "<strong><strong>a</strong></strong>"],
  ["**a** ** b", "<strong>a</strong> ** b"],
  ["2*3 and a_b_c", "2*3 and a_b_c"],
];

async function markdown(browser, server) {
  const page = await open(browser, server);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await answering(page, kHostile);
  const title = await page.title();
  await page.fill("#prompt", "<script>document.title = 'mine'</script>");
  const begun = Date.now();
  await page.keyboard.press("Enter");
  await page.waitForSelector(".assistant .code");
  await idle(page);
  check(`what is odd takes no time: ${Date.now() - begun} ms`, Date.now() - begun < 20000);
  const found = await page.evaluate(() => ({
    alien: [...document.querySelectorAll("#messages script, #messages iframe, #messages img, #messages svg, #messages b, #messages [onerror]")].length,
    links: [...document.querySelectorAll("#messages .body a")].map((node) => node.href),
    text: document.querySelector(".assistant > .body").textContent,
    deepest: Math.max(...[...document.querySelectorAll("#messages blockquote, #messages li li")].map((node) => { let d = 0; for (let n = node; n; n = n.parentElement) ++d; return d; })),
    rows: document.querySelectorAll("#messages tr").length,
    cells: Math.max(...[...document.querySelectorAll("#messages tr")].map((row) => row.children.length)),
  }));
  check("the title is the page's", (await page.title()) === title);
  check("markup is text", found.alien === 0 && found.text.includes("<script>document.title") && found.text.includes("onerror="));
  check(`links go to the web alone: ${found.links}`, found.links.length === 5 && found.links.every((link) => link.startsWith("https://example.org/")));
  check("parentheses belong to a link", found.links.includes("https://example.org/a_(b)") && found.links.includes("https://example.org/plain"));
  check(`nesting ends: ${found.deepest}`, found.deepest < 30);
  check(`tables end: ${found.rows} rows, ${found.cells} cells`, found.rows < 1100 && found.cells <= 40);
  check("what was typed is text", (await page.locator(".user > .body").innerText()) === "<script>document.title = 'mine'</script>");
  await page.unroute(/completions$/);

  await page.click("[data-text=new_chat]");
  await answering(page, kFine, "First I think about **this**,\n\nand then about that.");
  await page.fill("#prompt", "Show me");
  await page.keyboard.press("Enter");
  await page.waitForSelector(".assistant .code");
  await idle(page);
  const shown = await page.evaluate(() => {
    const body = document.querySelector(".assistant > .body");
    return { tags: [...new Set([...body.querySelectorAll("*")].map((node) => node.tagName.toLowerCase()))], nested: body.querySelectorAll(":scope > ol > li ul > li").length,
      folded: !document.querySelector(".assistant .thinking").open, thoughts: document.querySelector(".assistant .thinking .body").textContent, cell: body.querySelector("tbody td:last-child").textContent };
  });
  for (const tag of ["h3", "em", "strong", "code", "del", "a", "ol", "ul", "li", "blockquote", "table", "th", "td", "pre", "figure"]) check(`Markdown gives ${tag}`, shown.tags.includes(tag));
  check(`lists lie in lists: ${shown.nested}`, shown.nested === 2);
  check(`cells are read: ${shown.cell}`, shown.cell === "4.1 GB");
  check(`thoughts are apart and folded: ${shown.thoughts}`, shown.folded && shown.thoughts.includes("then about that"));
  await page.click(".code button");
  check("code is copied", (await page.evaluate(() => navigator.clipboard.readText())) === "def bits(model):\n    return 8 * model.bytes / model.parameters");
  await looksWhole(page, "Markdown");
  await page.setViewportSize({ width: 1280, height: 1300 });
  await shot(page, "markdown");
  await page.unroute(/completions$/);

  const answerTo = async (text) => {
    await page.click("[data-text=new_chat]");
    await answering(page, text);
    await page.fill("#prompt", "Show me");
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.querySelector(".assistant .facts")?.textContent.includes("1234"));
    await page.unroute(/completions$/);
  };
  await answerTo(kEmphasis.map(([text]) => text).join("\n\n"));
  const made = await page.evaluate(() => [...document.querySelectorAll(".assistant > .body > p")].map((node) => node.innerHTML));
  kEmphasis.forEach(([text, html], i) => check(`${text} gives ${html}, not ${made[i]}`, made[i] === html));

  // As a part of a conversation that was kept: what is long comes at once, in more nodes than a call has room for.
  const long = Array.from({ length: 70000 }, (_, i) => `line ${i}`).join("\n");
  await page.evaluate((messages) => sessionStorage.setItem("nibble-chat", JSON.stringify(messages)), [{ role: "user", content: "Count" }, { role: "assistant", content: long }]);
  await page.reload({ waitUntil: "commit", timeout: 120000 });
  await page.waitForSelector(".message.assistant", { state: "attached", timeout: 120000 });
  check("a paragraph of 70,000 lines is whole", await page.evaluate(() => document.querySelectorAll(".assistant p > br").length === 69999));
  await page.context().close();
}

async function compare(browser, server) {
  const page = await open(browser, server, { at: "/#compare" });
  check("one model: two settings", await page.isVisible("#one-model"));
  await page.fill("#compare-prompt", "Once upon a time there was");
  await page.fill("#settings-a input >> nth=0", "0.9");
  await page.fill("#compare-settings input >> nth=1", "60");
  await page.focus("#compare-prompt");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#parting p");
  const found = await page.evaluate(() => ["a", "b"].map((side) => {
    const tokens = [...document.querySelectorAll(`#text-${side} .token`)];
    return { all: tokens.length, marked: tokens.filter((node) => node.classList.contains("differs")).length, parting: tokens.findIndex((node) => node.classList.contains("parts")),
      same: tokens.filter((node) => !node.classList.contains("differs")).map((node) => node.textContent).join("|"), title: tokens[0]?.title };
  }));
  check(`tokens are there: ${found.map((side) => side.all)}`, found.every((side) => side.all > 20));
  check("differing ones are marked", found.every((side) => side.marked > 0) && found[0].parting === found[1].parting && found[0].parting >= 0);
  check("the others are the same", found[0].same === found[1].same);
  check(`probabilities are told: ${found[0].title}`, found.every((side) => /%.*".*%/.test(side.title)));
  check("so are the choices where they part", (await page.locator("#parting tbody tr").count()) >= 5 && (await page.locator("#parting td.chosen").count()) === 2);
  await looksWhole(page, "compare");
  await page.setViewportSize({ width: 1280, height: 1100 });
  await shot(page, "compare");
  await page.fill("#settings-a input >> nth=0", "0");
  await page.click("#compare-run");
  await page.waitForFunction(() => document.querySelector("#parting p")?.dataset.text === "same_tokens");
  check("the same settings give the same tokens", (await page.locator(".differs").count()) === 0);
  await page.context().close();
}

// Of a server with several models each side has one of its own, and asks for it by its name; every view is of the one that is chosen.
async function twoModels(browser) {
  const server = await serve(model, "--alias", "small", "--alias", "smaller", "--template", template, "--threads", "1");
  const page = await open(browser, server);
  check("all are named", (await page.innerText("#model-name")) === "small, smaller");
  const asked = [];
  await changing(page, (body) => asked.push(body.model));
  await page.click("nav a[href='#compare']");
  await page.waitForFunction(() => document.querySelector("#model-b").value === "smaller");
  check("each side has a model", (await page.inputValue("#model-a")) === "small" && !(await page.isVisible("#one-model")));
  await page.fill("#compare-prompt", "Once");
  await page.fill("#compare-settings input >> nth=1", "8");
  await page.click("#compare-run");
  await page.waitForSelector("#parting p");
  check(`both are asked: ${asked}`, asked.sort().join() === "small,smaller");
  await looksWhole(page, "two models");
  await page.click("nav a[href='#model']");
  await page.waitForSelector("#model-facts dd");
  await page.selectOption("#shown-model", "smaller");
  await page.waitForFunction(() => document.querySelector("#model-facts dd").textContent === "smaller");
  await page.click("nav a[href='#status']");
  await page.waitForFunction(() => [...document.querySelectorAll(".tile dd")].at(-1)?.textContent === "16");
  check("the status is of both", (await page.locator(".tile dd").nth(1).innerText()) === "0 / 16");
  await page.context().close();
  await server.stop();
}

async function status(browser, server) {
  const page = await open(browser, server, { at: "/#status" });
  await page.waitForSelector(".tile");
  const made = () => page.locator(".tile dd").last().innerText();
  const before = await made();
  const work = page.request.post(server.url + "/v1/completions", { data: { prompt: "Once", max_tokens: 1500, ignore_eos: true } });
  await page.waitForFunction((old) => [...document.querySelectorAll(".tile dd")].at(-1).textContent !== old, before);
  await work;
  await page.waitForTimeout(3000);
  check("figures move", (await made()) !== before);
  check("charts are drawn", (await page.locator("svg.plot").count()) === 4 && (await page.locator("polyline").first().getAttribute("points")).split(" ").length > 2);
  check("bars are drawn", await page.evaluate(() => [...document.querySelectorAll("rect.bar")].some((bar) => Number(bar.getAttribute("height")) > 10)));
  await looksWhole(page, "status");
  await page.setViewportSize({ width: 1280, height: 1000 });
  await shot(page, "status");
  await page.click("nav a[href='#model']");
  await page.waitForSelector("#model-facts dd");
  check("the model is described", (await page.locator("#model-facts dd").count()) >= 7 && (await page.locator("#formats tbody tr").count()) >= 1);
  await looksWhole(page, "model");
  await shot(page, "model");

  // Who leaves the view while it asks, and comes back, does not make it ask twice as often.
  let held = [];
  await page.route(/metrics$/, (route) => held.push(route));
  await page.click("nav a[href='#status']");
  while (held.length === 0) await page.waitForTimeout(20);
  for (const view of ["model", "status", "model", "status"]) {
    await page.click(`nav a[href='#${view}']`);
    await page.waitForSelector(`#${view}:not([hidden])`);
  }
  const slots = await page.evaluate(() => fetch("/slots").then((answer) => answer.status));  // behind whatever was asked before it
  check(`one question at a time: ${held.length}`, slots === 200 && held.length === 1);
  await held.pop().continue();
  while (held.length === 0) await page.waitForTimeout(20);
  check("and it goes on", held.length === 1);
  await Promise.all(held.map((route) => route.continue()));
  await page.context().close();
}

// Every view on a phone and in the dark, in Chinese; and how it is switched.
async function looks(browser, server) {
  const phone = await open(browser, server, { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, colorScheme: "dark", locale: "zh-CN" });
  check("a browser's language counts", (await phone.getAttribute("html", "lang")) === "zh-Hans");
  await answering(phone, kFine);
  await phone.fill("#prompt", "用一句话介绍量化");
  await phone.tap("#send");
  await phone.waitForSelector(".assistant .code");
  await idle(phone);
  for (const view of ["chat", "compare", "status", "model"]) {
    await phone.tap(`nav a[href='#${view}']`);
    await phone.waitForSelector(`#${view}:not([hidden])`);
    if (view === "status") await phone.waitForSelector(".tile");
    if (view === "model") await phone.waitForSelector("#formats tbody tr");
    await looksWhole(phone, `phone, ${view}`);
    await shot(phone, `phone-dark-zh-${view}`);
  }
  check("no English is left", !(await phone.innerText("main")).includes("Parameters"));
  await phone.tap("#language");
  check("a switch changes the language", (await phone.innerText("nav")).includes("Status") && (await phone.getAttribute("html", "lang")) === "en");
  await phone.context().close();

  const page = await open(browser, server);
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await ground();
  await page.click("#theme");
  check("a switch makes it dark", (await ground()) !== light);
  await page.reload();
  await page.waitForSelector("html[data-ready]");
  check("and it stays so", (await ground()) !== light);
  await shot(page, "empty-dark");
  const wanted = await page.evaluate(() => [...document.querySelectorAll("a, button, textarea, summary")].filter((node) => node.checkVisibility() && !node.disabled).length);
  const reached = new Set();
  for (let i = 0; i < 2 * wanted; ++i) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => {
      const node = document.activeElement;
      return getComputedStyle(node).outlineStyle === "none" ? "" : node.id || node.textContent;
    }));
  }
  reached.delete("");
  check(`the keyboard reaches all, and shows where it is: ${reached.size} of ${wanted}`, reached.size >= wanted);
  await page.context().close();
}

async function keys(browser) {
  const file = join(scratch, "keys");
  writeFileSync(file, "open sesame\n");
  const server = await serve("--api-key-file", file);
  const page = await open(browser, server, { allowed: ["401 (Unauthorized)"] });
  await page.waitForSelector("#key-dialog[open]");
  await page.fill("#key", "wrong");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#key-dialog[open]");
  await page.fill("#key", "open sesame");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#model-name:not(:empty)");
  check("a model without a template continues texts", await page.isVisible("#no-template"));
  await page.fill("#prompt", "Once upon a time");
  await page.keyboard.press("Enter");
  await idle(page);
  check("and does", (await answers(page))[0].length > 10);
  await page.reload();
  await page.waitForSelector("#model-name:not(:empty)");
  check("the key is kept in the tab", !(await page.isVisible("#key-dialog")));
  check("and nowhere else", await page.evaluate(() => !JSON.stringify(localStorage).includes("sesame") && !document.cookie));
  await page.context().close();

  // A browser that keeps nothing for this page.
  const private_page = await open(browser, server, { allowed: ["401 (Unauthorized)"], refusesStorage: true });
  await private_page.waitForSelector("#key-dialog[open]");
  await private_page.fill("#key", "open sesame");
  await private_page.keyboard.press("Enter");
  await private_page.waitForSelector("#model-name:not(:empty)");
  await private_page.fill("#prompt", "Once upon a time");
  await private_page.keyboard.press("Enter");
  await private_page.waitForSelector(".message.assistant");
  await idle(private_page);
  check("a key that may not be kept is used all the same", (await answers(private_page))[0].length > 10 && !(await private_page.isVisible("#key-dialog")));
  await private_page.reload();
  await private_page.waitForSelector("#key-dialog[open]");
  check("and is gone with the page", (await private_page.locator(".message").count()) === 0);
  await private_page.context().close();
  await server.stop();
}

const executablePath = ["/usr/lib/chromium/chromium", "/usr/bin/chromium"].find(existsSync);
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
const server = await serve("--template", template, "--threads", "1");
try {
  for (const part of [chat, markdown, compare, status, looks]) await part(browser, server).catch((error) => failures.push(`${part.name}: ${error.message}`));
  for (const part of [twoModels, keys]) await part(browser).catch((error) => failures.push(`${part.name}: ${error.message}`));
} finally {
  await browser.close();
  await server.stop();
  rmSync(scratch, { recursive: true });
}
for (const failure of failures) console.error(failure);
console.log(`${checks} checks of the page, ${failures.length} failures`);
process.exit(failures.length > 0 ? 1 : 0);
