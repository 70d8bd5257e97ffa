// A gRPC server on Node's http2 (nghttp2): cleartext, unary calls of coprocess.Dispatcher; replies with the message, reversed.
import { createServer } from "node:http2";

const server = createServer();
server.on("stream", (stream, headers) => {
  const parts = [];
  stream.on("error", () => {});
  stream.on("data", (part) => parts.push(part));
  stream.on("end", () => {
    const body = Buffer.concat(parts);
    const fine = headers.te === "trailers" && headers["content-type"] === "application/grpc" && headers["grpc-timeout"];
    if (!fine || body.length < 5 || body.readUInt32BE(1) !== body.length - 5) {
      stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "13" }, { endStream: true });
      return;
    }
    body.subarray(5).reverse();
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(body);
  });
});
const [kind, address] = process.argv.slice(2);
const where = kind === "unix" ? { path: address } : { host: "127.0.0.1", port: 0 };
server.listen(where, () => console.log(kind === "unix" ? 1 : server.address().port));
