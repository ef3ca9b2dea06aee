// Open a page and wait for the texts that come on standard input, a line each; print "shown" for every one.
//
// Usage: node look.mjs ADDRESS [SCREENSHOT.png]; what the page reports as an error ends it with status 1.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const [address, screenshot] = process.argv.slice(2);
const flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"];
const browser = await chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", args: flags });
const page = await browser.newPage();
const errors = [];
page.on("pageerror", (error) => errors.push(error.message));
page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
try {
  await page.goto(address);
  for await (const text of createInterface({ input: process.stdin })) {
    await page.getByText(text).first().waitFor({ timeout: 20_000 });
    if (screenshot) await page.screenshot({ path: screenshot });
    console.log("shown");
  }
} catch (error) {
  console.error(`${error}\n${errors.join("\n")}\n${await page.content()}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
if (errors.length > 0) {
  console.error(errors.join("\n"));
  process.exitCode = 1;
}
