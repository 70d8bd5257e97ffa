// A plugin server as users write them, on @grpc/grpc-js: node server.js ADDRESS RECORD PROTO [--streams N] [--age MS]
// [--tls CERT,KEY,CA].
//
// ADDRESS is host:port or unix:PATH, PROTO the folder of coprocess_object.proto. RECORD gets one line for each call. The
// hook waits ends with its call. SIGTERM stops it gracefully: what is under way ends.
"use strict";

const fs = require("node:fs");
const { parseArgs } = require("node:util");

const grpc = require("@grpc/grpc-js");
const { loadSync } = require("@grpc/proto-loader");

const { hooks } = require("./hooks.js");

const LARGEST = 256 << 20;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { streams: { type: "string" }, age: { type: "string" }, tls: { type: "string" } },
});
const [address, record, proto] = positionals;
const definition = loadSync("coprocess_object.proto", {
  includeDirs: [proto], keepCase: true, longs: Number, enums: String, defaults: true,
});
const { Dispatcher } = grpc.loadPackageDefinition(definition).coprocess;
const encode = Dispatcher.service.Dispatch.requestSerialize;

function note(what) {
  fs.appendFileSync(record, `${JSON.stringify(what)}\n`);
}

async function dispatch(call, reply) {
  const o = call.request;
  const left = call.getDeadline() - Date.now();
  note({ hook: o.hook_name, object: encode(o).toString("base64"), peer: call.getPeer(), left });
  if (o.hook_name === "waits") {
    call.on("cancelled", () => note({ ended: o.hook_name }));
    return;
  }
  const hook = hooks[o.hook_name];
  if (hook === undefined) {
    reply({ code: grpc.status.NOT_FOUND, details: `no hook ${o.hook_name}` });
    return;
  }
  try {
    await hook(o);
  } catch (error) {
    reply(error);
    return;
  }
  reply(null, o);
}

function event({ request }, reply) {
  note({ event: JSON.parse(request.payload) });
  reply(null, {});
}

function credentials(files) {
  if (files === undefined) {
    return grpc.ServerCredentials.createInsecure();
  }
  const [cert, key, ca] = files.split(",").map((name) => fs.readFileSync(name));
  return grpc.ServerCredentials.createSsl(ca, [{ private_key: key, cert_chain: cert }], true);
}

const limits = { "grpc.max_receive_message_length": LARGEST, "grpc.max_send_message_length": LARGEST };
if (values.streams) {
  limits["grpc.max_concurrent_streams"] = Number(values.streams);
}
if (values.age) {
  limits["grpc.max_connection_age_ms"] = Number(values.age);
}
const server = new grpc.Server(limits);
server.addService(Dispatcher.service, { Dispatch: dispatch, DispatchEvent: event });
server.bindAsync(address, credentials(values.tls), (error) => {
  if (error) {
    throw error;
  }
  console.log("ready");
});
process.on("SIGTERM", () => server.tryShutdown(() => process.exit(0)));
