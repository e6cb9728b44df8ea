// What any client with the browser's WebSocket interface expects of the gateway.
// Runs in Chromium and, through the ws package, in Node. Each check resolves or
// rejects; runChecks reports [{name, error}], error being "" for a pass.
'use strict';

function open(WS, url) {
  return new Promise((resolve, reject) => {
    const socket = new WS(url);
    socket.binaryType = 'arraybuffer';
    const inbox = [];
    let waiting = null;
    socket.onmessage = (event) => {
      inbox.push(event.data);
      if (waiting) waiting();
    };
    // The next message, in order; none is lost between two calls.
    socket.next = async () => {
      while (inbox.length === 0) await new Promise((wake) => { waiting = wake; });
      return inbox.shift();
    };
    socket.closed = new Promise((done) => { socket.onclose = done; });
    socket.onerror = () => reject(new Error('the connection failed'));
    socket.onopen = () => resolve(socket);
  });
}

function equal(got, want, what) {
  if (got !== want) throw new Error(`${what}: got ${String(got).slice(0, 80)}, want ${String(want).slice(0, 80)}`);
}

function equalBytes(got, want, what) {
  if (!(got instanceof ArrayBuffer)) throw new Error(`${what}: got ${typeof got}, want binary`);
  const bytes = new Uint8Array(got);
  equal(bytes.length, want.length, `${what}: length`);
  for (let i = 0; i < want.length; i++) {
    if (bytes[i] !== want[i]) throw new Error(`${what}: byte ${i} is ${bytes[i]}, want ${want[i]}`);
  }
}

function pattern(size) {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8)) & 0xff;
  return bytes;
}

async function closeNormally(socket) {
  socket.close(1000);
  const event = await socket.closed;
  equal(event.code, 1000, 'close code');
  equal(event.wasClean, true, 'wasClean');
}

const checks = {
  async 'echo text'(WS, url) {
    const socket = await open(WS, url + '/');
    for (const text of ['hello', 'Grüße, 世界 🌍', 'x'.repeat(126), 'y'.repeat(65536)]) {
      socket.send(text);
      equal(await socket.next(), text, 'echo');
    }
    await closeNormally(socket);
  },

  async 'echo binary'(WS, url) {
    const socket = await open(WS, url + '/');
    for (const size of [1, 125, 126, 65535, 65536]) {
      const bytes = pattern(size);
      socket.send(bytes);
      equalBytes(await socket.next(), bytes, `${size} bytes`);
    }
    await closeNormally(socket);
  },

  async 'echo 1 MiB'(WS, url) {
    const socket = await open(WS, url + '/');
    const bytes = pattern(1 << 20);
    socket.send(bytes);
    equalBytes(await socket.next(), bytes, '1 MiB');
    await closeNormally(socket);
  },

  async 'echo empty messages'(WS, url) {
    const socket = await open(WS, url + '/');
    socket.send('');
    equal(await socket.next(), '', 'empty text');
    socket.send(new Uint8Array(0));
    equalBytes(await socket.next(), new Uint8Array(0), 'empty binary');
    await closeNormally(socket);
  },

  async 'many messages keep their order'(WS, url) {
    const socket = await open(WS, url + '/');
    for (let i = 0; i < 500; i++) socket.send(`message ${i}`);
    for (let i = 0; i < 500; i++) equal(await socket.next(), `message ${i}`, 'echo');
    await closeNormally(socket);
  },

  async 'close code and reason come back'(WS, url) {
    const socket = await open(WS, url + '/');
    socket.close(3001, 'enough – genug');
    const event = await socket.closed;
    equal(event.code, 3001, 'code');
    equal(event.reason, 'enough – genug', 'reason');
    equal(event.wasClean, true, 'wasClean');
  },

  async 'broadcast reaches both, sender included'(WS, url) {
    const a = await open(WS, url + '/broadcast');
    const b = await open(WS, url + '/broadcast');
    a.send('from a');
    equal(await a.next(), 'from a', 'a hears itself');
    equal(await b.next(), 'from a', 'b hears a');
    const bytes = pattern(300);
    b.send(bytes);
    equalBytes(await a.next(), bytes, 'a hears b');
    equalBytes(await b.next(), bytes, 'b hears itself');
    await closeNormally(a);
    await closeNormally(b);
  },

  async 'an unknown path is refused'(WS, url) {
    let opened = true;
    await open(WS, url + '/nowhere').catch(() => { opened = false; });
    equal(opened, false, 'opened');
  },
};

function withTimeout(promise, ms) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function runChecks(WS, url, more) {
  const results = [];
  for (const [name, check] of Object.entries({ ...checks, ...more })) {
    let error = '';
    try {
      await withTimeout(check(WS, url), 10000);
    } catch (err) {
      error = String(err && err.message || err) || 'failed';
    }
    results.push({ name, error });
  }
  return results;
}

if (typeof module !== 'undefined') module.exports = { runChecks, open, equal };
