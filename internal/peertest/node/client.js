// Runs the checks with the ws package: node client.js ws://host:port [deflate] [http://host:port/page]
'use strict';

const WebSocket = require('ws');
const { runChecks, open, equal, equalBytes, noise, deflated, closeWith } = require('./checks.js');

const url = process.argv[2];
const deflate = process.argv.includes('deflate');
const page = process.argv.find((arg) => arg.startsWith('http://'));

// A client that offers permessage-deflate with the given options, and compresses every message.
function clientWith(perMessageDeflate) {
  return class extends WebSocket {
    constructor(address, subprotocols) {
      super(address, subprotocols, { perMessageDeflate });
      // What was agreed on, with its parameters: extensions has the names only.
      this.once('upgrade', (response) => { this.agreed = response.headers['sec-websocket-extensions'] || ''; });
    }
  };
}

// What the browser's interface cannot do.
const nodeOnly = {
  async 'ping is answered with its payload'(WS) {
    const socket = await open(WS, url + '/');
    for (const payload of ['', 'are you there?', 'p'.repeat(125)]) {
      const pong = new Promise((resolve) => socket.once('pong', resolve));
      socket.ping(payload);
      equal((await pong).toString(), payload, 'pong');
    }
    socket.terminate();
  },

  async 'ping between the fragments of a message'(WS) {
    const socket = await open(WS, url + '/');
    const pong = new Promise((resolve) => socket.once('pong', resolve));
    socket.send('first, ', { fin: false });
    socket.ping('inside');
    socket.send('second, ', { fin: false });
    equal((await pong).toString(), 'inside', 'pong');
    socket.send('last', { fin: true });
    equal(await socket.next(), 'first, second, last', 'echo');
    socket.terminate();
  },

  async '1 MiB in fragments'(WS) {
    const socket = await open(WS, url + '/');
    const bytes = noise(1 << 20);
    for (let i = 0; i < bytes.length; i += 1 << 16) {
      socket.send(bytes.subarray(i, i + (1 << 16)), { fin: i + (1 << 16) === bytes.length });
    }
    equalBytes(await socket.next(), bytes, 'echo');
    socket.terminate();
  },

  async 'going away is answered'(WS) {
    await closeWith(WS, url, 1001);
  },

  async 'compression need not be offered'() {
    const socket = await open(clientWith(false), url + '/');
    equal(socket.extensions, '', 'extensions');
    socket.send('plain '.repeat(500));
    equal(await socket.next(), 'plain '.repeat(500), 'echo');
    socket.terminate();
  },

  // Agreed or not: repetitions further back than the window must not break anything.
  async 'a small window is kept or declined'() {
    const socket = await open(clientWith({ threshold: 0, serverMaxWindowBits: 9, clientMaxWindowBits: 9 }), url + '/');
    if (deflated(socket)) {
      equal(/server_max_window_bits=[89](;|,|$)/.test(socket.agreed), true, `extensions are "${socket.agreed}"`);
    }
    const block = noise(5000);
    const bytes = new Uint8Array(20 * block.length);
    for (let i = 0; i < bytes.length; i += block.length) bytes.set(block, i);
    socket.send(bytes);
    equalBytes(await socket.next(), bytes, 'echo');
    socket.terminate();
  },

  async 'an unknown path gets 404'(WS) {
    const status = await new Promise((resolve, reject) => {
      const socket = new WS(url + '/nowhere');
      socket.on('unexpected-response', (_, response) => {
        resolve(response.statusCode);
        socket.terminate();
      });
      socket.on('open', () => reject(new Error('opened')));
      socket.on('error', () => {});
    });
    equal(status, 404, 'status');
  },
};

runChecks(clientWith({ threshold: 0 }), url, deflate, page, nodeOnly, console.log)
  .then(() => process.exit()); // a failed check may have left its sockets open
