// What the engines of dotprompt (Handlebars) and promptfoo (Nunjucks) make of exported prompts; see prompts.py.
const fs = require("fs");
const handlebars = require("handlebars");
const nunjucks = require("nunjucks");
const yaml = require("js-yaml");

const [rowsFile, configFile] = process.argv.slice(2);

const rows = JSON.parse(fs.readFileSync(rowsFile, "utf8"));
let differ = 0;
for (const row of rows) {
  const engine = handlebars.create();
  engine.registerHelper("ifEquals", function (one, other, options) {
    return one === other ? options.fn(this) : options.inverse(this);
  });
  engine.registerHelper("unlessEquals", function (one, other, options) {
    return one !== other ? options.fn(this) : options.inverse(this);
  });
  for (const [name, text] of Object.entries(row.partials)) engine.registerPartial(name, text);
  const [, front, body] = row.source.match(/^---\n([\s\S]*?)\n?---\n([\s\S]*)$/);
  yaml.load(front);
  const text = engine.compile(body, { noEscape: true })(row.values).trim();
  if (text !== row.text) {
    differ += 1;
    console.log(row.id, "theirs", JSON.stringify(text), "ours", JSON.stringify(row.text));
  }
}
console.log(`Handlebars ${handlebars.VERSION}: ${rows.length} texts, ${differ} differ`);

const config = yaml.load(fs.readFileSync(configFile, "utf8"));
const environment = new nunjucks.Environment(null, { autoescape: false });
const raw = Object.fromEntries(config.prompts.map((prompt) => [prompt.label, prompt.raw]));
let asked = 0;
let failed = 0;
for (const test of config.tests) {
  const output = environment.renderString(raw[test.prompts[0]], test.vars).trim();
  for (const { type, value } of test.assert) {
    asked += 1;
    const holds = type === "equals" ? output === value : output.toLowerCase().includes(value.toLowerCase());
    if (holds === (type === "not-icontains")) {
      failed += 1;
      console.log(test.description, type, JSON.stringify(value), JSON.stringify(output));
    }
  }
}
console.log(`Nunjucks: ${config.tests.length} tests, ${asked} assertions, ${failed} fail`);
