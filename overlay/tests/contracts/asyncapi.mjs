// Whether docs/asyncapi.yaml is valid, and whether every example in it and in docs/protocol.md is what it says.
//
// Ends with status 1 and a list when something is wrong.
import { readFileSync } from "node:fs";
import { readMessages } from "./document.mjs";

const PROTOCOL = new URL("../../../docs/protocol.md", import.meta.url);

const messages = await readMessages();
const problems = [];
const shown = new Map([...messages.keys()].map((name) => [name, 0]));

/** Checks one example; `sender` where the place tells it. */
function check(where, frame, sender) {
  const message = messages.get(frame.t);
  if (!message) return problems.push(`${where}: the message \`${frame.t}\` is not in asyncapi.yaml`);
  const problem = message.problem(frame);
  if (problem) problems.push(`${where}: ${problem}\n    ${JSON.stringify(frame)}`);
  if (sender && sender !== message.sender) problems.push(`${where}: \`${frame.t}\` is said by the ${message.sender}`);
  shown.set(frame.t, shown.get(frame.t) + 1);
}

function fromDocument() {
  for (const message of messages.values()) {
    if (message.examples.length === 0) problems.push(`asyncapi.yaml: no example of \`${message.name}\``);
    for (const { name, payload } of message.examples) {
      const where = `asyncapi.yaml, example ${message.name}.${name}`;
      check(where, payload);
      if (payload.t !== message.name) problems.push(`${where}: its t is \`${payload.t}\``);
      // A schema that takes anything would pass every other check.
      if (!message.problem({ ...payload, nobody_knows: 1 })) problems.push(`${where}: the schema takes unknown fields`);
      const required = Object.keys(payload).filter((key) => message.schema.required.includes(key));
      for (const key of required) {
        const { [key]: _, ...rest } = payload;
        if (!message.problem(rest)) problems.push(`${where}: the schema does not miss \`${key}\``);
      }
    }
  }
}

/** JSON blocks, short messages within the text, and the whole lines of the example session. */
function fromText() {
  const text = readFileSync(PROTOCOL, "utf8");
  const lineOf = (index) => text.slice(0, index).split("\n").length;
  const examples = [
    ...[...text.matchAll(/^```json\n([\s\S]*?)^```$/gm)].map((found) => [found.index, found[1]]),
    ...[...text.matchAll(/`(\{\s*"t"[^`]*\})`/g)].map((found) => [found.index, found[1]]),
    ...[...text.matchAll(/^ {4}[<>] (\{.*\})$/gm)].map((found) => [found.index, found[1], found[0].trim()[0]]),
  ];
  for (const [index, json, arrow] of examples) {
    const where = `protocol.md, line ${lineOf(index)}`;
    if (arrow && json.includes("…")) continue;
    try {
      const frame = JSON.parse(json);
      if (frame.t !== undefined) check(where, frame, { "<": "server", ">": "client" }[arrow]);
    } catch (error) {
      problems.push(`${where}: ${error.message}`);
    }
  }
  const [said, asked] = text.split("## What a client says");
  const headings = (part) => [...part.split("\n## Versions")[0].matchAll(/^### `(\w+)`$/gm)].map((found) => found[1]);
  for (const [sender, part] of [["server", said], ["client", asked]]) {
    const wanted = [...messages.values()].filter((message) => message.sender === sender).map(({ name }) => name);
    const found = headings(part);
    for (const name of wanted.filter((one) => !found.includes(one))) problems.push(`protocol.md: no heading \`${name}\` of the ${sender}`);
    for (const name of found.filter((one) => !wanted.includes(one))) problems.push(`asyncapi.yaml: no message \`${name}\` of the ${sender}`);
  }
}

fromDocument();
const inDocument = [...shown.values()].reduce((sum, one) => sum + one, 0);
fromText();
const inText = [...shown.values()].reduce((sum, one) => sum + one, 0) - inDocument;
console.log(`${messages.size} messages, ${inDocument} examples in asyncapi.yaml, ${inText} in protocol.md`);
if (inText < messages.size) problems.push(`protocol.md: fewer examples (${inText}) than messages`);
if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}
