// What any client with the browser's WebSocket interface expects of the gateway.
// Runs in Chromium and, through the packages ws and undici, in Node. Each check
// resolves or rejects; runChecks reports a line for each, "ok NAME" or
// "failed NAME: ERROR".
'use strict';

function open(WS, url, subprotocols = []) {
  return new Promise((resolve, reject) => {
    const socket = new WS(url, subprotocols);
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

// Bytes that do not compress, the same each time: xorshift.
function noise(size) {
  const bytes = new Uint8Array(size);
  for (let i = 0, x = 2463534242; i < size; i++) {
    x ^= x << 13; x ^= x >>> 17; x ^= x << 5;
    bytes[i] = x >>> 24;
  }
  return bytes;
}

// Text that compresses to a bit less than half of it.
function digits(size) {
  const bytes = noise(size);
  for (let i = 0; i < size; i++) bytes[i] = 0x30 + bytes[i] % 10;
  return new TextDecoder().decode(bytes);
}

function deflated(socket) {
  return /^permessage-deflate(;|$)/.test(socket.extensions);
}

async function closeNormally(socket) {
  socket.close(1000);
  const event = await socket.closed;
  equal(event.code, 1000, 'close code');
  equal(event.wasClean, true, 'wasClean');
}

async function closeWith(WS, url, code) {
  const socket = await open(WS, url + '/');
  socket.close(code, 'enough – genug');
  const event = await socket.closed;
  equal(event.code, code, 'code');
  equal(event.reason, 'enough – genug', 'reason');
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

  async 'text and binary of several sizes'(WS, url) {
    const socket = await open(WS, url + '/');
    for (const size of [0, 125, 126, 65536, 1 << 20]) {
      const text = digits(size);
      socket.send(text);
      equal(await socket.next(), text, `text of ${size} bytes`);
      const bytes = new TextEncoder().encode(text);
      socket.send(bytes);
      equalBytes(await socket.next(), bytes, `${size} bytes`);
    }
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
    for (const code of [1000, 3000, 4999]) await closeWith(WS, url, code);
  },

  async 'a subprotocol is chosen'(WS, url) {
    for (const path of ['/', '/broadcast']) {
      const none = await open(WS, url + path);
      equal(none.protocol, '', 'none offered');
      const some = await open(WS, url + path, ['chat', 'echo', 'superchat']);
      equal(some.protocol, 'echo', 'three offered');
      some.send('spoken');
      equal(await some.next(), 'spoken', 'echo');
      await closeNormally(none);
      await closeNormally(some);
    }
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

// With the URL of an ordinary page of the same server.
function pageChecks(page) {
  async function fetchPage() {
    const response = await fetch(page);
    equal(response.status, 200, 'status');
    equal(await response.text(), 'an ordinary page', 'page');
  }
  return {
    async 'a page on the same port'(WS, url) {
      await fetchPage();
      const socket = await open(WS, url + '/');
      await fetchPage();
      socket.send('beside a page');
      equal(await socket.next(), 'beside a page', 'echo');
      await closeNormally(socket);
      await fetchPage();
    },
  };
}

// With permessage-deflate on at the gateway.
const deflateChecks = {
  async 'permessage-deflate is agreed on'(WS, url) {
    for (const path of ['/', '/broadcast']) {
      const socket = await open(WS, url + path);
      equal(deflated(socket), true, `extensions are "${socket.extensions}"`);
      await closeNormally(socket);
    }
  },

  async 'deflate: small messages'(WS, url) {
    const socket = await open(WS, url + '/');
    for (const text of ['a', 'a', '', 'again, again and again', 'again, again and again']) {
      socket.send(text);
      equal(await socket.next(), text, 'echo');
    }
    await closeNormally(socket);
  },

  async 'deflate: 1 MiB that compresses'(WS, url) {
    const socket = await open(WS, url + '/');
    for (const text of ['z'.repeat(1 << 20), digits(1 << 20)]) {
      socket.send(text);
      equal(await socket.next(), text, 'echo');
    }
    await closeNormally(socket);
  },

  async 'deflate: 1 MiB that does not compress'(WS, url) {
    const socket = await open(WS, url + '/');
    for (let i = 0; i < 2; i++) {
      socket.send(noise(1 << 20));
      equalBytes(await socket.next(), noise(1 << 20), 'echo');
    }
    await closeNormally(socket);
  },

  async 'deflate: broadcast'(WS, url) {
    const a = await open(WS, url + '/broadcast');
    const b = await open(WS, url + '/broadcast');
    for (let i = 0; i < 20; i++) a.send(`to everybody, number ${i}`);
    for (const socket of [a, b]) {
      for (let i = 0; i < 20; i++) equal(await socket.next(), `to everybody, number ${i}`, 'heard');
      await closeNormally(socket);
    }
  },
};

// And off.
const plainChecks = {
  async 'compression offered is declined'(WS, url) {
    const socket = await open(WS, url + '/');
    equal(socket.extensions, '', 'extensions');
    socket.send('offered '.repeat(500));
    equal(await socket.next(), 'offered '.repeat(500), 'echo');
    await closeNormally(socket);
  },
};

function withTimeout(promise, ms) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// runChecks runs them all; page is an URL, or empty for none.
async function runChecks(WS, url, deflate, page, more, report) {
  const list = { ...checks, ...(deflate ? deflateChecks : plainChecks), ...(page ? pageChecks(page) : {}), ...more };
  for (const [name, check] of Object.entries(list)) {
    try {
      await withTimeout(check(WS, url), 30000);
      report(`ok ${name}`);
    } catch (err) {
      report(`failed ${name}: ${err && err.message || err}`);
    }
  }
}

if (typeof module !== 'undefined') {
  module.exports = { runChecks, withTimeout, open, equal, equalBytes, noise, deflated, closeWith };
}
