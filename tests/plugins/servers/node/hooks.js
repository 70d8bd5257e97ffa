"use strict";

const { status } = require("@grpc/grpc-js");

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

function overrides(o, code, headers = {}) {
  o.request.return_overrides = { response_code: code, headers };
  return o.request.return_overrides;
}

// Hooks change the object in place; what they throw takes the reply's place.
exports.hooks = {
  nothing() {},
  headers({ request }) {
    request.set_headers = { "X-Set": "by the plugin", "X-Both": "set", "X-Text": "Grüße" };
    request.delete_headers = ["X-Both", "x-gone"];
  },
  params({ request }) {
    request.add_params = { added: "a b&c", both: "set" };
    request.delete_params = ["gone", "both"];
  },
  url({ request }) {
    request.url = request.url.replace("/x", "/rewritten");
  },
  method({ request }) {
    request.method = "PUT";
  },
  reverse({ request }) {
    request.raw_body.reverse();
  },
  refuse(o) {
    overrides(o, 403, { "X-Why": "a whim" }).response_error = "not today";
  },
  answer(o) {
    const made = overrides(o, 418, { "X-Why": "a teapot", "Content-Type": "text/x-pot" });
    made.response_body = "short and stout\n";
    made.override_error = true;
  },
  fails() {
    throw Object.assign(new Error("böse\n100%"), { code: status.FAILED_PRECONDITION, details: "böse\n100%" });
  },
  async slow({ request }) {
    await sleep(Number(request.headers["X-Sleep"]));
  },
  auth(o) {
    const key = o.request.headers.Authorization || "";
    if (!key.startsWith("good")) {
      overrides(o, 401).response_error = "who are you";
      return;
    }
    o.session = {
      rate: 100, per: 1, quota_max: 50, quota_renewal_rate: 3600, alias: "of a plugin", tags: ["one", "two"],
      access_rights: { auth: { api_id: "auth", api_name: "auth", versions: ["Default"] } },
      metadata: { token: key, colour: "blue" },
    };
  },
  session({ request, session, metadata }) {
    const { alias, rate, per, tags } = session;
    request.set_headers = {
      "X-Session": `${alias} ${rate}/${per} ${tags.join(",")} ${session.metadata.colour}`,
      "X-Metadata": Object.keys(metadata).sort().join(","),
    };
  },
  post({ request, hook_type: type }) {
    request.set_headers = { "X-Post": `${type} ${request.url}` };
  },
  response({ response }) {
    response.status_code = 202;
    response.raw_body.reverse();
    response.headers["X-First"] = "changed";
    response.headers["X-Many"] = "1";
    response.multivalue_headers.push({ key: "X-Many", values: ["1", "2"] });
    delete response.headers["X-Gone"];
  },
};
