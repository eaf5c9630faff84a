import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { openBrowser, openPage, PHONE } from "./support/browser.mjs";
import { Server, until } from "./support/server.mjs";
import { anotherLive, clipboard, endLive, onTab } from "./support/studio.mjs";

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
});
after(async () => {
  await browser.close();
  await server.stop();
});

const results = (t, slug, more = {}) => onTab(t, { server, browser, slug, tab: "results", ...more });
const rows = (page) => page.locator(".live-results").first().locator(".ranking__row");
const french = (number) => number.toFixed(1).replace(".", ",");
const api = (live_id) => server.api("GET", `lives/${live_id}/results`);
const asFinal = (live_id) => until("a result", async () => (await api(live_id)).jeux.every(({ phase }) => phase === "final"));

/** A channel whose first jeu is worse than its second, and whose third nobody rated. */
async function rated(slug, more = {}) {
  const seeded = await server.seed({ slug, open_jeux: "all", ...more });
  for (const fun of [2, 3, 2]) await server.vote({ live_id: seeded.live_id, jeu_id: seeded.jeux[0], fun, graph: 3 });
  for (const fun of [5, 4]) await server.vote({ live_id: seeded.live_id, jeu_id: seeded.jeux[1], fun, duree: 5 });
  return seeded;
}

test("the ranking and the table say the numbers of the API, each on its own scale", async (t) => {
  const { slug, live_id } = await rated("numbers");
  const page = await results(t, slug);
  await rows(page).nth(2).waitFor();
  const { jeux } = await api(live_id);
  const [worse, better] = jeux;
  assert.deepEqual(await page.locator(".ranking__title").allTextContents(), ["Les Brumes de Valmère", "Ultraroute 94", "Petite Forge"]);
  assert.deepEqual(await page.locator(".ranking__mean").allTextContents(), [french(better.mean), french(worse.mean), "–"]);
  assert.deepEqual(await page.locator(".ranking__rank").allTextContents(), ["1", "2", ""]);
  await rows(page).first().click();
  const fun = page.getByRole("img", { name: "Fun, Les Brumes de Valmère" });
  await fun.waitFor();
  assert.match(await fun.locator("desc").textContent(), /^Moyenne 4,5, 2 votes\. 4.: 1, 5.: 1$/);
  const heights = await fun.locator("rect").evaluateAll((columns) => columns.map((column) => Number(column.getAttribute("height"))));
  assert.deepEqual(heights, [0, 0, 0, 40, 40]);
  await page.getByText("Tableau complet").click();
  const row = page.getByRole("row", { name: /Ultraroute 94/ });
  const cells = await row.getByRole("cell").allTextContents();
  assert.deepEqual(cells.slice(0, 5), ["2", french(worse.mean), "3", "2,3", "3,0"]);
  assert.deepEqual(page.problems.filter((text) => !text.includes("403")), []);
});

test("a live on air is read again while somebody looks, and what was unfolded stays so", async (t) => {
  const { slug, live_id, jeux } = await rated("moving");
  const page = await results(t, slug);
  await rows(page).first().click();
  await page.locator(".scales").first().waitFor();
  await server.vote({ live_id, jeu_id: jeux[1], fun: 5, duree: 5 });
  await page.locator(".ranking__votes", { hasText: "3 votes · ouvert" }).nth(1).waitFor();
  assert.ok(await page.locator(".scales").first().isVisible());
});

test("CSV and JSON are the files of the API", async (t) => {
  const { slug, live_id } = await rated("files");
  const page = await results(t, slug);
  await rows(page).first().waitFor();
  const save = async (name) => {
    const [saved] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name, exact: true }).click()]);
    return { name: saved.suggestedFilename(), text: await readFile(await saved.path(), "utf8") };
  };
  const csv = await save("CSV");
  assert.equal(csv.name, `${slug}-${live_id}.csv`);
  const [head, first] = csv.text.split(/\r?\n/);
  assert.match(head, /^jeu_id,title,phase,epoch,voters,mean,critere/);
  assert.match(first, /^1,Ultraroute 94,open,0,3,/);
  const json = await save("JSON");
  assert.equal(json.name, `${slug}-${live_id}.json`);
  assert.deepEqual(JSON.parse(json.text).jeux, (await api(live_id)).jeux);
});

test("lives are compared with each other, and a jeu with itself", async (t) => {
  const first = await rated("compare");
  await endLive(server, first.live_id);
  await asFinal(first.live_id);
  const second = await anotherLive(server, "compare", { title: "Deuxième soirée", jeux: [first.jeux[1]] });
  await server.vote({ live_id: second.live_id, jeu_id: first.jeux[1], [second.criteres[0].key]: 2.5 });
  const page = await results(t, "compare");
  await page.getByText("D’un live à l’autre").click();
  const tables = page.locator("lives-compare table");
  await tables.nth(1).waitFor();
  const cells = async (table) => (await table.getByRole("row").allInnerTexts()).slice(1).map((text) => text.replace(/\s+/g, " "));
  const before = await api(first.live_id);
  const means = before.jeux.flatMap(({ mean }) => (mean === null ? [] : [mean]));
  const [newer, older] = await cells(tables.first());
  assert.match(newer, /^Deuxième soirée .* 2,5 \/ 5 1$/);
  assert.match(older, new RegExp(`^Soirée .* ${french(means.reduce((sum, mean) => sum + mean) / means.length)} / 5 5$`));
  const [now, then] = await cells(tables.nth(1));
  assert.match(now, /^Deuxième soirée .* 2,5 \/ 5 1$/);
  assert.match(then, new RegExp(`^Soirée .* ${french(before.jeux[1].mean)} / 5 2$`));
  assert.equal(await page.getByRole("img", { name: /Moyenne de Les Brumes de Valmère/ }).locator(".trend__dot").count(), 2);
});

test("a channel without lives says so", async (t) => {
  await server.api("POST", "admin/channels", { slug: "empty", title: "Vide" });
  const page = await results(t, "empty");
  await page.getByText("Aucun live terminé ou en cours.", { exact: false }).waitFor();
  assert.equal(await page.locator("lives-compare").isVisible(), false);
});

test("the picture to share is 1200 × 630, full of the ranking, in both languages, saved and copied", async (t) => {
  const { slug } = await rated("picture", { jeux: ["Ultraroute 94", "L’interminable chronique de la forteresse oubliée, édition définitive remasterisée", "Petite Forge"] });
  const page = await results(t, slug);
  await page.getByRole("button", { name: "Image à partager" }).click();
  await page.locator('.share__picture[data-drawn="fr dark"]').waitFor();
  const save = async () => {
    const [saved] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Télécharger (PNG)" }).click()]);
    assert.equal(saved.suggestedFilename(), "Soiree.png");
    return readFile(await saved.path());
  };
  const png = await save();
  assert.equal(png.subarray(1, 4).toString(), "PNG");
  assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [1200, 630]);
  const painted = await page.locator(".share__picture").evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const colours = new Map();
    for (let i = 0; i < data.length; i += 4) colours.set(`${data[i]},${data[i + 1]},${data[i + 2]}`, (colours.get(`${data[i]},${data[i + 1]},${data[i + 2]}`) ?? 0) + 1);
    return { accent: colours.get("255,91,53"), white: colours.get("255,255,255"), edge: [...canvas.getContext("2d").getImageData(canvas.width - 60, 20, 60, 600).data].filter((_, i) => i % 4 === 0 && i > 0).every((red) => red === 16) };
  });
  assert.ok(painted.accent > 10_000 && painted.white > 3_000, JSON.stringify(painted));
  assert.ok(painted.edge, "long titles stay inside the margins");
  await page.getByRole("radio", { name: "Anglais" }).check({ force: true });
  await page.locator('.share__picture[data-drawn="en dark"]').waitFor();
  assert.notDeepEqual(await save(), png, "other words");
  await page.getByRole("radio", { name: "Clair" }).check({ force: true });
  await page.locator('.share__picture[data-drawn="en light"]').waitFor();
  await page.getByRole("button", { name: "Copier l’image" }).click();
  await page.getByText("Copié").waitFor();
  const copied = await page.evaluate(async () => {
    const [item] = await navigator.clipboard.read();
    const picture = await createImageBitmap(await item.getType("image/png"));
    return [picture.width, picture.height];
  });
  assert.deepEqual(copied, [1200, 630]);
  await page.keyboard.press("Escape");
  await page.locator("share-dialog").waitFor({ state: "detached" });
});

test("the public page of a live needs no script, says what the API says, and describes itself to networks", async (t) => {
  const { slug, live_id } = await rated("public");
  await endLive(server, live_id);
  await asFinal(live_id);
  const admin = await results(t, slug);
  await admin.getByRole("button", { name: "Copier le lien" }).click();
  const address = await until("a link", async () => (await clipboard(admin)).includes(live_id) && clipboard(admin));
  assert.equal(address, `${server.origin}/${slug}/${live_id}`);
  const page = await openPage(browser, address, { viewport: PHONE, javaScriptEnabled: false });
  t.after(() => page.context().close());
  const { jeux } = await api(live_id);
  assert.deepEqual(await page.locator(".ranking__title").allTextContents(), ["Les Brumes de Valmère", "Ultraroute 94", "Petite Forge"]);
  assert.deepEqual(await page.locator(".ranking__mean").allTextContents(), [french(jeux[1].mean), french(jeux[0].mean), "–"]);
  await page.locator("summary").nth(1).click();
  await page.getByRole("img", { name: /^Fun, Ultraroute 94.: moyenne 2,3, 3 votes\. 2.: 2, 3.: 1$/ }).waitFor();
  const meta = (property) => page.locator(`meta[property="og:${property}"]`).getAttribute("content");
  assert.equal(await meta("title"), "Soirée · Max joue");
  assert.equal(await meta("description"), `1. Les Brumes de Valmère ${french(jeux[1].mean)} · 2. Ultraroute 94 ${french(jeux[0].mean)}`);
  assert.equal(await meta("url"), address);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth).catch(() => 0) <= PHONE.width, true);
  assert.equal(page.requests.every((url) => url.startsWith(server.origin)), true);
  assert.deepEqual(page.problems, []);
  const english = await openPage(browser, `${address}?lang=en`, { javaScriptEnabled: false });
  t.after(() => english.context().close());
  await english.getByText("out of 5").waitFor();
  await english.getByRole("link", { name: "Max joue’s page" }).click();
  await english.waitForURL(`${server.origin}/${slug}?lang=en`);
});

test("a blind live shows its final jeux to the public, and nothing of the others", async (t) => {
  const { slug, live_id, jeux } = await rated("blind", { live: { blind: true } });
  await server.api("POST", `admin/lives/${live_id}/jeux/${jeux[1]}/close`, { delay_ms: 0 });
  await until("a final jeu", async () => (await api(live_id)).jeux[1].phase === "final");
  const html = await (await fetch(`${server.origin}/${slug}/${live_id}`, { headers: { "Accept-Language": "fr" } })).text();
  const shown = (await api(live_id)).jeux;
  assert.ok(html.includes(`ranking__mean">${french(shown[1].mean)}<`));
  assert.equal(html.match(/class="ranking__mean">–</g)?.length, 2);
  assert.equal(html.match(/<summary/g)?.length, 1, "one jeu has numbers");
  const page = await openPage(browser, `${server.origin}/${slug}/${live_id}`);
  t.after(() => page.context().close());
  await page.getByText("Live en cours", { exact: false }).waitFor();
});

test("no draft, no live of another channel and no made-up address has a results page", async () => {
  const { live_id } = await server.seed({ slug: "draft", open_jeux: null });
  const aired = await server.seed({ slug: "aired" });
  const status = async (where) => (await fetch(`${server.origin}${where}`)).status;
  assert.equal(await status(`/aired/${aired.live_id}`), 200);
  assert.equal(await status(`/draft/${live_id}`), 404);
  assert.equal(await status(`/draft/${aired.live_id}`), 404);
  assert.equal(await status("/aired/019b76da-a800-7000-8000-000000000001"), 404);
  assert.equal(await status("/aired/nothing"), 404);
  const wrong = await fetch(`${server.origin}/api/${aired.live_id}`);
  assert.equal(wrong.status, 404);
  assert.match(wrong.headers.get("content-type"), /problem\+json/, "under /api nothing changed");
});
