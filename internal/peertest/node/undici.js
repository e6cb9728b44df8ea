// Runs the checks with undici's WebSocket: node undici.js ws://host:port [deflate]
'use strict';

const { WebSocket } = require('undici');
const { runChecks } = require('./checks.js');

runChecks(WebSocket, process.argv[2], process.argv[3] === 'deflate', {}, console.log)
  .then(() => process.exit()); // a failed check may have left its sockets open
