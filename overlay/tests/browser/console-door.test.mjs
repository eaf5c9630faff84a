import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { DOCK, openBrowser, openPage } from "./support/browser.mjs";
import { openConsole, PASSWORD, tab } from "./support/console.mjs";
import { Server, until } from "./support/server.mjs";

const WORDS = {
  "fr-FR": { door: "Connexion", enter: "Entrer", wrong: "Nom, mot de passe ou lien incorrect.", many: /Trop vite\s: attendre 12 s\./, out: "Se déconnecter", over: /Votre session a pris fin/ },
  "en-GB": { door: "Sign in", enter: "Sign in", wrong: "Name, password or link is wrong.", many: /Too fast: wait 12 s\./, out: "Sign out", over: /Your session has ended/ },
};

let server;
let browser;
before(async () => {
  [server, browser] = await Promise.all([Server.start(), openBrowser()]);
  await server.api("POST", "admin/channels", { slug: "max", title: "Max joue" });
});
after(async () => {
  await browser.close();
  await server.stop();
});

for (const [locale, words] of Object.entries(WORDS)) {
  test(`signing in and out, a wrong password and an ended session are clear (${locale})`, async (t) => {
    const page = await openConsole(server, browser, "max", { locale });
    t.after(() => page.context().close());
    await tab(page, "access").click();
    await page.getByRole("button", { name: words.out, exact: true }).first().click();
    await page.getByRole("heading", { name: words.door }).waitFor();
    assert.equal(await page.getByText(words.over).count(), 0, "who leaves is not told that it ended");
    await page.locator("admin-signin [name=name]").fill("test-admin");
    await page.locator("admin-signin [name=password]").fill("pas le bon mot de passe");
    await page.getByRole("button", { name: words.enter }).click();
    await page.locator("admin-signin .problem").filter({ hasText: words.wrong }).waitFor();
    assert.equal(await page.locator("admin-signin [name=password]").inputValue(), "", "it is typed anew");
    await page.locator("admin-signin [name=password]").fill(PASSWORD);
    await page.keyboard.press("Enter");
    await page.locator(".tabs").waitFor();
    // The session ends elsewhere.
    const cookies = await page.context().cookies();
    const session = cookies.find(({ name }) => name.endsWith("bareme_session"));
    await fetch(`${server.origin}/api/admin/logout`, { method: "POST", headers: { Cookie: `${session.name}=${session.value}`, Origin: server.origin, "X-CSRF-Token": (await (await fetch(`${server.origin}/api/admin/session`, { headers: { Cookie: `${session.name}=${session.value}` } })).json()).csrf } });
    await page.getByText(words.over).waitFor();
    await page.getByRole("heading", { name: words.door }).waitFor();
  });

  test(`before it is known who looks, there is nothing to press (${locale})`, async (t) => {
    let answer;
    const held = new Promise((resolve) => { answer = resolve; });
    t.after(() => answer());
    const prepare = (context) => context.route("**/api/admin/channels/max/lives", async (route) => { await held; await route.continue().catch(() => {}); });
    const page = await openConsole(server, browser, "max", { locale, prepare, isWaited: false });
    t.after(() => page.context().close());
    await until("the lives to be asked for", () => page.requests.some((url) => url.endsWith("/api/admin/channels/max/lives")));
    for (const selector of [".tabs", "admin-signin", "admin-start", ".console"]) assert.equal(await page.locator(selector).isVisible(), false, selector);
    answer();
    await tab(page, "prepare").and(page.locator("[aria-selected=true]")).waitFor();
    await tab(page, "access").click();
    await page.getByRole("button", { name: words.out, exact: true }).first().waitFor();
  });

  test(`too many attempts are told to wait, and how long (${locale})`, async (t) => {
    const page = await openPage(browser, `${server.origin}/admin`, { viewport: DOCK, locale });
    t.after(() => page.context().close());
    await page.route("**/api/admin/login", (route) => route.fulfill({
      status: 429, contentType: "application/problem+json",
      body: JSON.stringify({ code: "too_fast", rule: "too_fast", params: { wait_s: 12 }, reason: "too many attempts", remedy: "wait 12 s" }),
    }));
    await page.locator("admin-signin [name=name]").fill("max");
    await page.locator("admin-signin [name=password]").fill("x");
    await page.getByRole("button", { name: words.enter }).click();
    await page.locator("admin-signin .problem").filter({ hasText: words.many }).waitFor();
  });
}
