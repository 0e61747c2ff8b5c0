// node demo.mjs DIR APP NODE OTHER: starts APP at NODE and OTHER, moves it to
// OTHER, and prints what happens meanwhile. DIR is of "regent cookie creds", or
// the URL of an open server.
import { filesOf, Refusal, Regent } from "./regent.mjs";

const [dir, app, node, other] = process.argv.slice(2);
if (!other) {
  console.error("usage: node demo.mjs DIR|URL APP NODE OTHER");
  process.exit(2);
}
const regent = await Regent.connect(dir.includes("://") ? { servers: dir } : filesOf(dir));
const followed = (async () => {
  for await (const e of regent.events()) {
    console.log(`event ${e.type} ${e.app || "-"} ${e.node || "-"} ${e.epoch}`);
    if (e.type === "app_started" && e.node === other) return;
  }
})();

try {
  await Promise.all([node, other].map((n) => regent.start(app, n)));
  console.log(`started: ${(await where(node)).node}`);
  await regent.takeover(app, other);
  await followed;
  const { node: runs, epoch } = await where(other); // the node that was asked knows; others hear of it
  console.log(`taken over: ${runs}, epoch ${epoch}`);
  await regent.start(app, node).catch((e) => {
    if (!(e instanceof Refusal)) throw e;
    console.log(`refused: ${e.code} ${e.message}`);
  });
} finally {
  await regent.close();
}

async function where(at) {
  return (await regent.status(at)).apps.find((a) => a.name === app);
}
