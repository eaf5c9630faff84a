// The linter is there to find what the Chromium of OBS lacks: it must find it, and nothing else.
import assert from "node:assert/strict";
import { test } from "node:test";
import { lintScript } from "../lint/scripts.mjs";
import { lintStyles } from "../lint/styles.mjs";

test("scripts newer than Chromium 127 are found", async () => {
  const newer = [
    "Promise.try(() => 1);",
    "document.body.moveBefore(a, b);",
    "Math.sumPrecise([1]);",
    "Uint8Array.fromBase64('');",
    "new Uint8Array(1).toBase64();",
    "RegExp.escape('a');",
    "Error.isError(1);",
    "using a = b;",
    "new Intl.DurationFormat('fr');",
    "new Temporal.PlainDate(1, 1, 1);",
  ];
  for (const text of newer) assert.notDeepEqual(await lintScript(text), [], text);
});

test("scripts that Chromium 127 understands are not found fault with", async () => {
  const fine = [
    "[1].findLast(() => 1); [2].toSorted(); Object.groupBy([], () => 1);",
    "new Set().union(new Set()); Promise.withResolvers();",
    "document.body.getAnimations({ subtree: true }); element.checkVisibility();",
    "const a = b?.c ?? 1; class C { #x = 1; static { } } export { a, C };",
  ];
  for (const text of fine) assert.deepEqual(await lintScript(text), [], text);
});

test("styles newer than Chromium 127 are found", () => {
  const newer = [
    "a { interpolate-size: allow-keywords }",
    "a { width: calc-size(auto, size) }",
    "a { color: if(style(--x): red; else: blue) }",
    "a { corner-shape: squircle }",
    "a { text-box-trim: trim-both }",
    "details::details-content { color: red }",
    "a:open { color: red }",
    "@function --x() { result: 1px }",
    "a { nonsense: 1 }",
  ];
  for (const css of newer) assert.notDeepEqual(lintStyles(css, "example.css"), [], css);
});

test("styles that Chromium 127 understands are not found fault with", () => {
  const fine = [
    "@container stage (width < 480px) { a:has(> b):not(.c) { width: 100cqw; color: color-mix(in oklch, red, blue) } }",
    "@font-face { font-family: x; src: url(x); font-display: block; unicode-range: U+20 }",
    "a { display: -webkit-box; -webkit-line-clamp: 2; overflow-wrap: anywhere; text-wrap: balance; &:hover { color: red } }",
    "@media (prefers-reduced-motion: reduce) { :where(a) { transition: none } }",
  ];
  for (const css of fine) assert.deepEqual(lintStyles(css, "example.css"), [], css);
});
