#!/usr/bin/env node
// A plugin of the JSON-RPC driver with every kind of hook. No packages; length framing, so that a body may be anything.
// Hooks: AddHeader (pre), CheckToken (auth_check), MarkResponse (response). Events are written to the gateway's log.
'use strict';

const TOKENS = new Map([['let-me-in', 'alice']]);

const HOOKS = {
  // Give the upstream a header.
  AddHeader(thing) {
    thing.request.set_headers['X-Plugin'] = 'node';
    return thing;
  },

  // Let in who has a token; a hook may take its time, others go on meanwhile.
  async CheckToken(thing) {
    const token = thing.request.headers.Authorization || '';
    const user = await Promise.resolve(TOKENS.get(token));
    if (user === undefined) {
      Object.assign(thing.request.return_overrides, { response_code: 401, response_error: 'a token is needed' });
      return thing;
    }
    thing.session = { rate: 0, per: 0, quota_max: -1, metadata: { user } };
    thing.metadata = { token };
    return thing;
  },

  // Give the client a header; one that is new stands in `headers`, and that is enough.
  MarkResponse(thing) {
    thing.response.headers['X-Plugin-Response'] = 'node';
    return thing;
  },
};

// Standard error goes to the gateway's log.
console.log = console.error;

function send(message) {
  const body = Buffer.from(JSON.stringify(message));
  process.stdout.write(Buffer.concat([Buffer.from(`Content-Length: ${body.length}\r\n\r\n`), body]));
}

async function answer({ id, method, params }) {
  const name = params.hook_name;
  if (method !== 'Dispatch' || !Object.hasOwn(HOOKS, name)) {
    return send({ jsonrpc: '2.0', id, error: { code: -32601, message: `there is no hook ${name}` } });
  }
  try {
    send({ jsonrpc: '2.0', id, result: await HOOKS[name](params) });
  } catch (error) {
    console.error(`${name}: ${error}`);
    send({ jsonrpc: '2.0', id, error: { code: -32603, message: 'the hook failed' } });
  }
}

function received(message) {
  for (const one of Array.isArray(message) ? message : [message]) {
    if ('id' in one) {
      answer(one);
    } else if (one.method === 'DispatchEvent') {
      console.error(`event ${one.params.message.Type} for ${one.params.handler_name}`);
    }
  }
}

// Chunks are put together once per message, so that a long one costs no more than its length.
let chunks = [];
let held = 0;
let needed = 0; // bytes until there is something to do
process.stdin.on('data', (chunk) => {
  chunks.push(chunk);
  held += chunk.length;
  while (held > 0 && held >= needed) {
    const all = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
    const head = all.indexOf('\r\n\r\n');
    chunks = [all];
    if (head < 0) {
      needed = held + 1;
      return;
    }
    const begin = head + 4;
    const length = Number(/^Content-Length: *(\d+)/im.exec(all.toString('latin1', 0, head))[1]);
    needed = begin + length;
    if (held < needed) return;
    received(JSON.parse(all.toString('utf8', begin, needed)));
    chunks = [all.subarray(needed)];
    held -= needed;
    needed = 0;
  }
});
// The end of the input is the end of the plugin: nothing keeps it running then.
