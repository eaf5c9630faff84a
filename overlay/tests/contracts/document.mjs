// docs/asyncapi.yaml as a stranger's parser reads it, and a validator for each of its messages.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Parser, fromFile } from "@asyncapi/parser";
import Ajv from "ajv";

const ERROR = 0;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export const ASYNCAPI = fileURLToPath(new URL("../../../docs/asyncapi.yaml", import.meta.url));

/** One message of the protocol: who says it, what it looks like, and how the document shows it. */
class Message {
  constructor(name, sender, schema, examples, validate) {
    Object.assign(this, { name, sender, schema, examples, validate });
  }

  /** What is wrong with a frame, in words, or nothing. */
  problem(frame) {
    if (this.validate(frame)) return null;
    const problems = this.validate.errors.map(({ instancePath, message }) => `${instancePath || "/"} ${message}`);
    return problems.join("; ");
  }
}

/** The document's messages by name. Fails when the parser finds an error, and when a message has no sender. */
export async function readMessages() {
  const { document, diagnostics } = await fromFile(new Parser(), ASYNCAPI).parse();
  const errors = diagnostics.filter(({ severity }) => severity === ERROR);
  const told = errors.map(({ message, path, range }) => `  line ${range.start.line + 1}, ${path.join(".")}: ${message}`);
  assert.ok(document && errors.length === 0, `docs/asyncapi.yaml is not AsyncAPI:\n${told.join("\n")}`);

  const ajv = new Ajv({ allErrors: true, strict: true, allowUnionTypes: true });
  ajv.addFormat("uuid", UUID);
  ajv.addVocabulary(["x-parser-schema-id"]);
  // Operations are the server's: what it receives, clients say.
  const says = (message, action) => {
    const operations = document.operations().all().filter((operation) => operation.action() === action);
    const replies = action === "send" ? document.operations().all().flatMap((one) => one.reply()?.messages().all() ?? []) : [];
    return [...operations.flatMap((one) => one.messages().all()), ...replies].some((one) => one.id() === message.id());
  };
  const messages = new Map();
  for (const message of document.components().messages().all()) {
    const senders = [says(message, "receive") && "client", says(message, "send") && "server"].filter(Boolean);
    assert.equal(senders.length, 1, `${message.id()} is said by ${senders.join(" and ") || "nobody"}`);
    const schema = message.payload().json();
    const examples = message.examples().all().map((example) => ({ name: example.name(), payload: example.payload() }));
    messages.set(message.id(), new Message(message.id(), senders[0], schema, examples, ajv.compile(schema)));
  }
  return messages;
}
