// Runs the checks with the ws package: node client.js ws://host:port
// Prints the results as one line of JSON.
'use strict';

const WebSocket = require('ws');
const { runChecks, open, equal } = require('./checks.js');

// What the browser's interface cannot do.
const nodeOnly = {
  async 'ping is answered with its payload'(WS, url) {
    const socket = await open(WS, url + '/');
    for (const payload of ['', 'are you there?', 'p'.repeat(125)]) {
      const pong = new Promise((resolve) => socket.once('pong', resolve));
      socket.ping(payload);
      equal((await pong).toString(), payload, 'pong');
    }
    socket.terminate();
  },

  async 'ping between the fragments of a message'(WS, url) {
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

  async 'compression offered may be declined'(WS, url) {
    const plain = await open(class extends WS {
      constructor(address) { super(address, { perMessageDeflate: false }); }
    }, url + '/');
    plain.send('plain');
    equal(await plain.next(), 'plain', 'echo without the offer');
    plain.terminate();
    const offered = await open(WS, url + '/');
    offered.send('offered '.repeat(500));
    equal(await offered.next(), 'offered '.repeat(500), 'echo with the offer');
    offered.terminate();
  },

  async 'an unknown path gets 404'(WS, url) {
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

runChecks(WebSocket, process.argv[2], nodeOnly).then((results) => {
  console.log(JSON.stringify(results));
});
