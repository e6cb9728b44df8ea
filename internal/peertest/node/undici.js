// Runs the checks with undici's WebSocket: node undici.js ws://host:port [deflate] [http://host:port/page]
'use strict';

const { WebSocket } = require('undici');
const { runChecks } = require('./checks.js');

const page = process.argv.find((arg) => arg.startsWith('http://'));
runChecks(WebSocket, process.argv[2], process.argv.includes('deflate'), page, {}, console.log)
  .then(() => process.exit()); // a failed check may have left its sockets open
