/**
 * Two windows of the page that `flowcraft init` writes, as a moving picture: docs/assets/two-windows.png, an animated PNG.
 * `node scripts/moving_picture.mjs`; with CHROMIUM in the environment where it is not /usr/bin/chromium.
 */
import { Buffer } from "node:buffer";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath, URL } from "node:url";
import { crc32 } from "node:zlib";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("..", import.meta.url));
const target = `${root}docs/assets/two-windows.png`;
const LARGEST = 500 * 1024;
const size = { width: 420, height: 400 };

const folder = mkdtempSync(join(tmpdir(), "flowcraft-picture-"));
const bin = `${root}.venv/bin`;
spawnSync(`${bin}/flowcraft`, ["init", "hello"], { cwd: folder, stdio: "inherit" });
const service = spawn(`${bin}/python`, ["-m", "app"], {
  cwd: join(folder, "hello"),
  env: { ...process.env, PORT: "0", DATABASE_URL: "", PYTHONUNBUFFERED: "1" },
});
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
});
try {
  const address = await printed(service, /http\S+/);
  const dsn = await printed(service, /psql "([^"]+)"/, 1);
  const [left, right] = await Promise.all([open(address), open(address)]);
  const studio = await browser.newPage({ viewport: { width: 2 * size.width + 30, height: size.height + 54 } });
  const frames = [];
  const take = async (milliseconds, caption) => frames.push({ milliseconds, png: await composed(studio, left, right, caption) });

  await take(1500, "Two windows of one page");
  await left.getByLabel("A new task").pressSequentially("Ship it");
  await take(900, "A task is typed in the left one …");
  await left.getByRole("button", { name: "Add" }).click();
  await right.locator("#tasks").getByText("Ship it").waitFor();
  await left.locator("#tasks").getByText("Ship it").waitFor();
  await take(1600, "… and committed: both have it");
  await right.locator('[data-task-id="3"] input').click();
  await left.locator('[data-task-id="3"] input:checked').waitFor();
  await take(1600, "The right one changes a row");
  spawnSync("psql", ["-Xq", dsn, "-c", "update tasks set title = 'Hello from psql' where id = 2"], { stdio: "inherit" });
  await Promise.all([left, right].map((page) => page.locator("#tasks").getByText("Hello from psql").waitFor()));
  await take(2400, "psql changes another: no service knows of it");

  const picture = animated(frames);
  if (picture.length > LARGEST) throw new Error(`the picture has ${picture.length} bytes, more than ${LARGEST}`);
  writeFileSync(target, picture);
  process.stdout.write(`${target}: ${frames.length} frames, ${Math.round(picture.length / 1024)} KB\n`);
} finally {
  await browser.close();
  service.kill("SIGTERM");
  await new Promise((resolve) => service.once("exit", resolve));
  rmSync(folder, { recursive: true, force: true });
}

async function open(address) {
  const page = await browser.newPage({ viewport: size, colorScheme: "light" });
  await page.goto(address);
  await page.locator('#health[data-health="live"]').waitFor();
  return page;
}

/** Both windows side by side, with a caption, as the browser draws them. */
async function composed(studio, ...windows) {
  const caption = windows.pop();
  const shots = await Promise.all(windows.map(async (page) => (await page.screenshot()).toString("base64")));
  const style = "margin:0;padding:10px;display:grid;grid-template-columns:1fr 1fr;gap:10px;background:#e8ebf0;font:15px system-ui";
  const images = shots.map((shot) => `<img src="data:image/png;base64,${shot}" style="border:1px solid #c5cbd6;border-radius:6px">`);
  await studio.setContent(`<body style="${style}">${images.join("")}<b style="grid-column:1/3;text-align:center">${caption}</b>`);
  return studio.screenshot();
}

async function printed(program, pattern, group = 0) {
  program.lines ??= createInterface({ input: program.stdout })[Symbol.asyncIterator]();
  for (let line = await program.lines.next(); !line.done; line = await program.lines.next()) {
    const found = pattern.exec(line.value);
    if (found) return found[group];
  }
  throw new Error("the service ended");
}

/** One PNG of several (https://www.w3.org/TR/png-3/#apng-frame-based-animation). */
function animated(frames) {
  let sequence = 0;
  const first = chunks(frames[0].png);
  const header = first.find(({ type }) => type === "IHDR").data;
  const out = [Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", header), chunk("acTL", numbers(frames.length, 0))];
  frames.forEach(({ milliseconds, png }, index) => {
    const control = Buffer.alloc(26);
    control.writeUInt32BE(sequence++, 0);
    header.copy(control, 4, 0, 8);
    control.writeUInt16BE(milliseconds, 20);
    control.writeUInt16BE(1000, 22);
    out.push(chunk("fcTL", control));
    for (const { type, data } of chunks(png)) {
      if (type !== "IDAT") continue;
      out.push(index === 0 ? chunk("IDAT", data) : chunk("fdAT", Buffer.concat([numbers(sequence++), data])));
    }
  });
  return Buffer.concat([...out, chunk("IEND", Buffer.alloc(0))]);
}

function* parts(png) {
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at);
    yield { type: png.toString("latin1", at + 4, at + 8), data: png.subarray(at + 8, at + 8 + length) };
    at += 12 + length;
  }
}

function chunks(png) {
  return [...parts(png)];
}

function numbers(...values) {
  const buffer = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => buffer.writeUInt32BE(value, 4 * index));
  return buffer;
}

function chunk(type, data) {
  const named = Buffer.concat([Buffer.from(type, "latin1"), data]);
  return Buffer.concat([numbers(data.length), named, numbers(crc32(named))]);
}
