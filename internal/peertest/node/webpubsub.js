// Runs the checks of /channels with the client library of Azure Web PubSub, as it comes from npm:
// node webpubsub.js ws://open-gateway ws://closed-gateway process-id-of-the-closed-one
'use strict';

const { WebPubSubClient, WebPubSubJsonProtocol } = require('@azure/web-pubsub-client');
const { equal, equalBytes, withTimeout } = require('./checks.js');

const [open, closed] = process.argv.slice(2, 4).map((url) => url + '/channels');
const closedPid = Number(process.argv[4]);

// A started client whose messages can be waited for, and whose events are noted.
async function start(url) {
  const client = new WebPubSubClient(url, {
    protocol: WebPubSubJsonProtocol(),
    autoReconnect: false,
    messageRetryOptions: { maxRetries: 0 },
  });
  const inbox = [];
  let wake = null;
  client.events = [];
  client.on('group-message', ({ message }) => { inbox.push(message); if (wake) wake(); });
  const connected = new Promise((resolve) => client.on('connected', (e) => { client.events.push('connected'); resolve(e); }));
  client.on('disconnected', (e) => { client.events.push('disconnected'); client.lastWords = e.message; });
  client.stopped = new Promise((resolve) => client.on('stopped', () => { client.events.push('stopped'); resolve(); }));
  client.inbox = inbox;
  client.next = async () => {
    while (inbox.length === 0) await new Promise((resolve) => { wake = resolve; });
    return inbox.shift();
  };
  await client.start();
  client.connectionId = (await connected).connectionId;
  return client;
}

async function stop(...clients) {
  for (const client of clients) {
    client.stop();
    await client.stopped;
  }
}

// The error of a promise that must be rejected.
async function errorOf(promise) {
  try {
    await promise;
  } catch (err) {
    return err;
  }
  throw new Error('it was not refused');
}

// Sends n messages, at most 64 of them not acknowledged.
async function sendMany(client, group, name, n) {
  let next = 0;
  const worker = async () => {
    while (next < n) {
      const i = next++;
      const result = await client.sendToGroup(group, { name, i }, 'json');
      if (result.isDuplicated) throw new Error(`${name} ${i} is a duplicate`);
    }
  };
  await Promise.all(Array.from({ length: 64 }, worker));
}

const checks = {
  async 'connected, disconnected, stopped'() {
    const a = await start(open);
    equal(typeof a.connectionId, 'string', 'connectionId');
    await stop(a);
    equal(a.events.join(), 'connected,disconnected,stopped', 'events');
  },

  async 'two clients exchange 10,000 messages'() {
    const n = 5000;
    const clients = { a: await start(open), b: await start(open) };
    for (const c of Object.values(clients)) await c.joinGroup('many');
    await Promise.all(Object.entries(clients).map(([name, c]) => sendMany(c, 'many', name, n)));
    for (const c of Object.values(clients)) {
      const seen = { a: 0, b: 0 };
      for (let i = 0; i < 2 * n; i++) {
        const { data, group, dataType } = await c.next();
        equal(group + dataType, 'manyjson', 'group and type');
        equal(data.i, seen[data.name]++, `number of ${data.name}'s next message`);
      }
      await c.leaveGroup('many'); // what is published more than once would come before the answer
      equal(c.inbox.length, 0, 'messages left over');
    }
    await stop(clients.a, clients.b);
  },

  async 'text, json and binary come as they were sent'() {
    const a = await start(open);
    await a.joinGroup('data');
    for (const text of ['', 'Grüße, 世界 🌍', '"\\\n\u0000\u2028', 'x'.repeat(100000)]) {
      await a.sendToGroup('data', text, 'text');
      const { data, dataType } = await a.next();
      equal(dataType, 'text', 'type');
      equal(data, text, 'text');
    }
    for (const value of [0, -1.5e300, 'a', [], { a: [true, null, { 'ü"': '🌍' }] }, false]) {
      await a.sendToGroup('data', value, 'json');
      const { data, dataType } = await a.next();
      equal(dataType, 'json', 'type');
      equal(JSON.stringify(data), JSON.stringify(value), 'json');
    }
    for (const size of [0, 1, 2, 3, 65536]) {
      const bytes = new Uint8Array(size).map((_, i) => (i * 31 + (i >> 8)) & 0xff);
      await a.sendToGroup('data', bytes.buffer, 'binary');
      const { data, dataType } = await a.next();
      equal(dataType, 'binary', 'type');
      equalBytes(data, bytes, 'binary');
    }
    await stop(a);
  },

  async 'noEcho spares the sender'() {
    const [a, b] = [await start(open), await start(open)];
    await a.joinGroup('echo');
    await b.joinGroup('echo');
    await a.sendToGroup('echo', 'quiet', 'text', { noEcho: true });
    await a.sendToGroup('echo', 'loud', 'text');
    equal((await a.next()).data, 'loud', 'the sender gets');
    equal((await b.next()).data, 'quiet', 'the other gets first');
    equal((await b.next()).data, 'loud', 'the other gets then');
    await stop(a, b);
  },

  async 'without an ack'() {
    const [a, b] = [await start(open), await start(open)];
    await b.joinGroup('fire');
    for (let i = 0; i < 100; i++) await a.sendToGroup('fire', i, 'json', { fireAndForget: true });
    for (let i = 0; i < 100; i++) equal((await b.next()).data, i, 'message');
    await stop(a, b);
  },

  async 'who has left gets nothing'() {
    const [a, b] = [await start(open), await start(open)];
    await a.joinGroup('left');
    await b.joinGroup('left');
    await b.leaveGroup('left');
    await a.sendToGroup('left', 1, 'json');
    equal((await a.next()).data, 1, 'the member gets');
    await b.joinGroup('left'); // its answer comes behind what was sent before
    equal(b.inbox.length, 0, 'messages of who had left');
    await stop(a, b);
  },

  async 'an ackId is served once'() {
    const a = await start(open);
    await a.joinGroup('once');
    const first = await a.sendToGroup('once', 1, 'json', { ackId: 500 });
    const again = await a.sendToGroup('once', 2, 'json', { ackId: 500 });
    equal(first.isDuplicated, false, 'the first');
    equal(again.isDuplicated, true, 'the second');
    await a.sendToGroup('once', 3, 'json');
    equal((await a.next()).data, 1, 'message');
    equal((await a.next()).data, 3, 'message');
    await stop(a);
  },

  async 'events and invocations are refused'() {
    const a = await start(open);
    for (const promise of [a.sendEvent('e', 1, 'json'), a.invokeEvent('e', 1, 'json')]) {
      equal((await errorOf(promise)).errorDetail.name, 'BadRequest', 'name of the error');
    }
    equal(a.events.join(), 'connected', 'events');
    await stop(a);
  },

  async 'a stream is refused'() {
    const a = await start(open);
    const err = await errorOf(a.openGroupStream('g').then((stream) => stream.end()));
    equal(err.name, 'BadRequest', `error "${err.message}"`);
    equal(a.events.join(), 'connected', 'events');
    await stop(a);
  },

  async 'what is no request ends the connection'() {
    const a = await start(open);
    const err = await errorOf(a.joinGroup('g', { ackId: -1 }));
    equal(err.name, 'SendMessageError', 'error');
    await a.stopped;
    equal(a.events.join(), 'connected,disconnected,stopped', 'events');
    equal(/ackId/.test(a.lastWords.message), true, `"${a.lastWords.message}" says why`);
  },

  async 'a closed gateway permits nothing'() {
    const a = await start(closed);
    for (const promise of [a.joinGroup('g'), a.leaveGroup('g'), a.sendToGroup('g', 1, 'json')]) {
      const err = await errorOf(promise);
      equal(err.name, 'SendMessageError', 'error');
      equal(err.errorDetail.name, 'Forbidden', 'name of the error');
      equal(/-channels-open/.test(err.errorDetail.message), true, `"${err.errorDetail.message}" says what to do`);
    }
    equal(a.events.join(), 'connected', 'events');
    await stop(a);
  },

  async 'a gateway that shuts down says so'() { // the last check: it is gone then
    const a = await start(closed);
    process.kill(closedPid, 'SIGTERM');
    await a.stopped;
    equal(a.events.join(), 'connected,disconnected,stopped', 'events');
    equal(a.lastWords && a.lastWords.message, 'going away', 'last words');
  },
};

(async () => {
  for (const [name, check] of Object.entries(checks)) {
    try {
      await withTimeout(check(), 30000);
      console.log(`ok ${name}`);
    } catch (err) {
      console.log(`failed ${name}: ${err && err.message || err}`);
    }
  }
  process.exit(0);
})();
