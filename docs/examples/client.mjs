// Sends events in columns (POST /v2/events, docs/reference/protocol-2.md): numbered batches, repeated until answered.
const COLUMNS = ["CounterGroup", "PercentileGroup", "TotalsCounter", "PercentileCounter"];

// The frame of a batch of events [tab, Type, seconds, value]. JSON leaves out members that are undefined.
export function frame(client, instance, batch, events, unsent) {
  const rows = { tabs: new Map(), structured: new Map() };
  for (const [tab, type, ...event] of events) {
    const map = rows[COLUMNS.includes(type) && typeof event[1] === "number" ? "tabs" : "structured"];
    const key = JSON.stringify([tab, type]);
    map.set(key, map.get(key) ?? []).get(key).push(event);
  }
  const tabs = [...rows.tabs].map(([key, row]) => [...JSON.parse(key), row.length]);
  const structured = [...rows.structured].map(([key, row]) => [...JSON.parse(key), row]);
  const head = Buffer.from(JSON.stringify({ client, instance, batch, tabs, structured, unsent }));
  const numbers = [...rows.tabs.values()].flatMap((row) => [...row.map((e) => e[0]), ...row.map((e) => e[1])]);
  const bytes = Buffer.alloc(4 + head.length + 8 * numbers.length);
  bytes.writeUInt32LE(head.length);
  head.copy(bytes, 4);
  numbers.forEach((number, i) => bytes.writeDoubleLE(number, 4 + head.length + 8 * i));
  return bytes;
}

// One sender per client id and agent; its batches go one after another: await each `send` before the next.
export class Sender {
  constructor(url, client, pause = 1000) { Object.assign(this, { url, client, pause, number: 0, retries: 0 }); }
  async post(...batch) { // the very same bytes until somebody answers: what is there already does not count again
    for (const body = frame(this.client, ...batch); ; this.retries++) {
      const answer = await fetch(this.url, { method: "POST", body }).catch(() => ({ status: 503 }));
      if (answer.status === 200) return { headers: answer.headers, text: await answer.text().catch(() => "") };
      if (answer.status < 500) throw Object.assign(new Error(await answer.text()), { status: answer.status });
      await new Promise((done) => setTimeout(done, this.pause));
    }
  }
  async send(events) { // answers "", or what the agent says of refused events; throws what no retry can mend
    this.instance ??= (await this.post(undefined, 0, [])).headers.get("taba-instance");
    return (await this.post(this.instance, ++this.number, events)).text;
  }
}
