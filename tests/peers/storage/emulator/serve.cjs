// Serves blobs and queues from memory on 127.0.0.1, at free ports, which it prints. It ends when its input does, so
// that whoever started it can't leave it behind.

"use strict";

const path = require("path");

process.argv.push(
  "--inMemoryPersistence",
  "--disableTelemetry",
  ...["blob", "queue", "table"].flatMap((name) => [`--${name}Host`, "127.0.0.1", `--${name}Port`, "0"]),
);
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
require(path.join(__dirname, "node_modules", "azurite", "dist", "src", "azurite.js"));
