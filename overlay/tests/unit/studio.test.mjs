import assert from "node:assert/strict";
import { test } from "node:test";
import { checkedChoice, DEFAULT_CHOICE, obsAddress, overlayAddress } from "../../lib/builder.js";
import { readHex, rgbOf } from "../../lib/colours.js";
import { contrast, textOn } from "../../lib/overlay-accent.js";
import { fileName } from "../../lib/download.js";
import { meanOfLive, noteCount, ranked, recurring, shareOf } from "../../lib/results.js";

const ADDRESS = "https://vote.example.org/notes/overlay/max?key=secret";

test("an overlay's address says what differs from the overlay's own defaults, and keeps its key", () => {
  assert.equal(overlayAddress(ADDRESS, DEFAULT_CHOICE), ADDRESS);
  const choice = { theme: "band", lang: "en", pos: "tr", scale: 1.2, criteres: ["fun", "duree"], motion: "off", qr: "idle", ranking: "end", accent: "#00aaff" };
  const url = new URL(overlayAddress(ADDRESS, choice, { demo: "final" }));
  assert.equal(url.pathname, "/notes/overlay/max");
  assert.deepEqual(Object.fromEntries(url.searchParams), {
    key: "secret", theme: "band", lang: "en", pos: "tr", motion: "off", qr: "idle", ranking: "end", scale: "1.2", criteres: "fun,duree", accent: "00aaff", demo: "final",
  });
});

test("no critere at all can be chosen, which is not the same as all of them", () => {
  assert.equal(new URL(overlayAddress(ADDRESS, { ...DEFAULT_CHOICE, criteres: [] })).searchParams.get("criteres"), "");
});

test("a choice that nobody understands any more becomes the default, part by part", () => {
  assert.deepEqual(checkedChoice(null), DEFAULT_CHOICE);
  assert.deepEqual(checkedChoice({ theme: "neon", pos: "xx", scale: 99, criteres: "fun", accent: "red", lang: 3 }), DEFAULT_CHOICE);
  assert.deepEqual(checkedChoice({ theme: "pill", accent: "#0AF", criteres: ["fun", 2] }), { ...DEFAULT_CHOICE, theme: "pill", accent: "#00aaff", criteres: ["fun"] });
});

test("what is dropped into OBS names its layer and its size, in the form that OBS decodes", () => {
  const dropped = obsAddress(ADDRESS, { name: "Notes & co", width: 1920, height: 1080 });
  assert.equal(dropped, `${ADDRESS}&layer-name=Notes%20%26%20co&layer-width=1920&layer-height=1080`);
});

test("colours are read with and without their #, short and long, and nothing else is one", () => {
  assert.equal(readHex("#F53"), "#ff5533");
  assert.equal(readHex(" ff5b35 "), "#ff5b35");
  for (const text of ["", "#ff5b3", "red", "#ff5b3g", "url(x)"]) assert.equal(readHex(text), null, text);
});

test("contrast is that of WCAG, and text takes the colour that reads best", () => {
  assert.equal(contrast(rgbOf("#000000"), rgbOf("#ffffff")), 21);
  assert.equal(contrast(rgbOf("#ffffff"), rgbOf("#767676")).toFixed(2), "4.54");
  assert.equal(textOn(rgbOf("#ff5b35")), "#101218");
  assert.equal(textOn(rgbOf("#1b2a6b")), "#ffffff");
  for (const accent of ["#ff5b35", "#777777", "#0000ff", "#00ff00", "#808080"]) assert.ok(contrast(rgbOf(accent), rgbOf(textOn(rgbOf(accent)))) >= 4.5, accent);
});

const live = (live_id, opened_at_us, scale, jeux) => ({ live_id, title: live_id, status: "closed", opened_at_us, scale, criteres: [], jeux });
const jeu = (jeu_id, mean, voters = 10, title = `jeu ${jeu_id}`) => ({ jeu_id, title, phase: "final", voters, mean, criteres: [] });

test("equal means share a rank, the next one counts both, and no mean is no rank", () => {
  const order = ranked([jeu(1, 3), jeu(2, null, 0), jeu(3, 4.5), jeu(4, 3), jeu(5, 1)]);
  assert.deepEqual(order.map(({ jeu: { jeu_id }, rank }) => [jeu_id, rank]), [[3, 1], [1, 2], [4, 2], [5, 4], [2, null]]);
});

test("a jeu is compared where it got a mean, in order of time, each mean on its own live's scale", () => {
  const lives = [
    live("b", 2, { min: 0, max: 100 }, [jeu(1, 75, 4, "Corrigé"), jeu(2, null)]),
    live("a", 1, { min: 1, max: 5 }, [jeu(1, 3, 10, "Corige"), jeu(2, 4)]),
  ];
  const [only, ...none] = recurring(lives);
  assert.deepEqual(none, []);
  assert.equal(only.title, "Corrigé");
  assert.deepEqual(only.points.map(({ live: { live_id }, share }) => [live_id, share]), [["a", 0.5], ["b", 0.75]]);
});

test("a live's mean counts each jeu once, and its notes are those of all jeux", () => {
  const evening = live("a", 1, { min: 1, max: 5 }, [jeu(1, 5, 90), jeu(2, 2, 10), jeu(3, null, 0)]);
  assert.equal(meanOfLive(evening), 3.5);
  assert.equal(noteCount(evening), 100);
  assert.equal(meanOfLive(live("b", 1, { min: 1, max: 5 }, [])), null);
  assert.equal(shareOf(null, { min: 1, max: 5 }), 0);
});

test("a file is named after its live, whatever its title holds", () => {
  assert.equal(fileName("Soirée découvertes / été", ".png"), "Soiree-decouvertes-ete.png");
  assert.equal(fileName("???", ".csv"), "bareme.csv");
});
