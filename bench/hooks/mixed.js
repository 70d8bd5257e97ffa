// What the growth test calls besides the ordinary hook: paths in which something could be left behind.
// Each of the first five answers four bytes, so that the load generator sees a wrong answer.
function answer(body) {
  return TykJsResponse({Body: body, Headers: {"Content-Type": "text/plain"}, Code: 200}, {});
}

// Without a declaration the name is a global one, and the next call must not see it.
function leakGlobals(request, session, config) {
  seen = typeof seen === "undefined" ? 1 : seen + 1;
  kept = request;
  Array.prototype.added = [kept, session];
  return answer("000" + seen);
}

function leakRequest(request, session, config) {
  var text = TykMakeHttpRequest(JSON.stringify({Method: "GET", Domain: config.config_data.upstream, Resource: "/script"}));
  return answer(JSON.parse(text).Code === 200 ? "good" : "not so good");
}

async function leakPromise(request, session, config) {
  var parts = await Promise.all([1, 2, 3, 4].map(async function (n) { await null; return n; }));
  return answer(parts.join(""));
}

async function leakFetch(request, session, config) {
  var found = await TykFetch(config.config_data.upstream + "/fetched");
  return answer(found.status === 200 ? "good" : "not so good");
}

function leakNothing(request, session, config) {
  return answer(String(request.URL.length + 1000).substring(0, 4));
}

// From here on calls fail: answered with 500, and all but the first cost a context.
function failThrow(request, session, config) {
  undefinedHelper(request);
}

function failLoop(request, session, config) {
  for (;;) { }
}

function failMemory(request, session, config) {
  for (var kept = []; ; ) { kept.push(new Array(1000).join("x").split("")); }
}

function failWait(request, session, config) {
  TykMakeHttpRequest(JSON.stringify({Method: "GET", Domain: config.config_data.slow, Resource: "/30"}));
  return answer("late");
}

// It is slow, but not for too long.
function waitShort(request, session, config) {
  TykMakeHttpRequest(JSON.stringify({Method: "GET", Domain: config.config_data.slow, Resource: "/0.5"}));
  return answer("good");
}
