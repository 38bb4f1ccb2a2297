// Checks KQL with Microsoft's own parser. Each line on standard input is a question, {schema:
// {table: "(a:string, …)"}, texts: [text]}; each line on standard output its answer: for every text,
// the list of what is wrong with it.
"use strict";

const fs = require("fs");
const path = require("path");
const readline = require("readline");
const vm = require("vm");

const folder = path.join(__dirname, "node_modules", "@kusto", "language-service-next");
for (const file of ["bridge.min.js", "Kusto.Language.Bridge.min.js"]) {
  vm.runInThisContext(fs.readFileSync(path.join(folder, file), "utf8"), { filename: file });
}
const { KustoCode, GlobalState, Symbols, Syntax } = globalThis.Kusto.Language;

function globals(schema) {
  const tables = Object.entries(schema).map(([name, columns]) => Symbols.TableSymbol.From(columns).WithName(name));
  const database = new Symbols.DatabaseSymbol.ctor("flockiq", tables);
  return GlobalState.Default.WithDatabase(database);
}

function check(text, known) {
  const code = KustoCode.ParseAndAnalyze(text, known);
  const found = code.GetDiagnostics();
  const problems = [];
  for (let index = 0; index < found.Count; index += 1) {
    const problem = found.getItem(index);
    const line = text.slice(0, problem.Start).split("\n").length;
    problems.push(`${line}: ${problem.Message}`);
  }
  let unknown = false;
  // A misspelled command parses without a diagnostic: as a command that is not known.
  Syntax.SyntaxElement.WalkNodes(code.Syntax, (node) => {
    unknown ||= node instanceof Syntax.UnknownCommand;
  });
  if (unknown) problems.push("1: there is no such command");
  return problems;
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const asked = JSON.parse(line);
  const known = globals(asked.schema);
  process.stdout.write(`${JSON.stringify(asked.texts.map((text) => check(text, known)))}\n`);
});
