// The functions and objects that scripts find (tyk-jsvm 5 and 6). Arguments become texts as JavaScript does it.

function publish(name, value) {
  defineProperty(global, name, {value, writable: true, enumerable: false, configurable: true});
}

function asText(value) {
  return typeof value === 'symbol' ? 'Symbol' : text(value);
}

const functions = {
  log(message) { say('info', asText(message)); },
  rawlog(message) { say('raw', asText(message)); },
  b64enc(s) { return toBase64(asText(s), false); },
  b64dec(s) { return fromBase64(asText(s), false); },
  rawb64enc(s) { return toBase64(asText(s), true); },
  rawb64dec(s) { return fromBase64(asText(s), true); },
  TykMakeHttpRequest(request) { return ask(['TykMakeHttpRequest', asText(request)]); },
  TykBatchRequest(requests) { return ask(['TykBatchRequest', asText(requests)]); },
  TykGetKeyData(key, api) { return ask(['TykGetKeyData', asText(key), asText(api)]); },
  TykSetKeyData(key, session, suppress) { ask(['TykSetKeyData', asText(key), asText(session), asText(suppress)]); },
  TykStorageGet(key) { const found = ask(['TykStorageGet', asText(key)]); return found === undefined ? null : found; },
  TykStorageSet(key, value, ttl) { ask(['TykStorageSet', asText(key), asText(value), asText(ttl)]); },
  TykStorageSetNX(key, value, ttl) { return ask(['TykStorageSetNX', asText(key), asText(value), asText(ttl)]) === 'true'; },
  TykStorageDel(key) { ask(['TykStorageDel', asText(key)]); },
  TykStorageTTL(key) { return +ask(['TykStorageTTL', asText(key)]); },
  TykStorageIncr(key, ttl) { return ask(['TykStorageIncr', asText(key), asText(ttl)]); },
  TykJsResponse(response, session_meta) { return jsonStringify({Response: response, SessionMeta: session_meta}); },
  async TykFetch(url, options) {
    jobs = true;
    const request = options === undefined || options === null ? {} : jsonParse(jsonStringify(options));
    request.url = asText(url);
    return jsonParse(await askLater(['TykFetch', jsonStringify(request)]));
  },
};
for (const name of keysOf(functions)) publish(name, functions[name]);
freeze(functions);

/** What console shows of a value. */
function shown(value) {
  if (typeof value === 'object' && value !== null) {
    try {
      const json = jsonStringify(value);
      if (json !== undefined) return json;
    } catch {}
  }
  return asText(value);
}
const nothing = () => undefined;

function line(level) {
  return (...args) => {
    let out = '';
    for (let i = 0; i < args.length; i++) out += (i ? ' ' : '') + shown(args[i]);
    say(level, out);
  };
}

const consoleObject = {
  log: line('info'), info: line('info'), debug: line('debug'), warn: line('warning'), error: line('error'),
  dir: nothing, time: nothing, timeEnd: nothing, trace: nothing, assert: nothing,
};
for (const name of keysOf(consoleObject)) defineProperty(consoleObject, name, {enumerable: false});
publish('console', consoleObject);

// -- TykJS (tyk-jsvm 5.1) -----------------------------------------------------------------------------------

const doProcessRequest = {
  DoProcessRequest(request, session, config) {
    request.Body = fromBase64(asText(request.Body), false);
    const result = this.ProcessRequest(request, session, config);
    if (!result) {
      say('error', "Middleware didn't return request object!");
      return undefined;
    }
    result.Request.Headers = {};
    result.Request.Body = toBase64(asText(result.Request.Body), false);
    return jsonStringify(result);
  },
}.DoProcessRequest;
const doProcessResponse = {
  DoProcessResponse(response, request, session, config) {
    const result = this.ProcessResponse(response, request, session, config);
    if (!result) {
      say('error', "Middleware didn't return response object!");
      return undefined;
    }
    return jsonStringify(result);
  },
}.DoProcessResponse;

/** A method that scripts may replace; not enumerable, so that the quick look stays quick. */
function method(holder, name, value) {
  defineProperty(holder, name, {value, writable: true, enumerable: false, configurable: true});
}

function makeCore() {
  function MiddlewareComponentMeta(configuration) { this.configuration = configuration; }
  const base = MiddlewareComponentMeta.prototype;
  method(base, 'ProcessRequest', function (request) { say('info', 'Process Request Not Implemented'); return request; });
  method(base, 'DoProcessRequest', doProcessRequest);
  method(base, 'ProcessResponse', function (response) { say('info', 'Process Response Not Implemented'); return response; });
  method(base, 'DoProcessResponse', doProcessResponse);
  function NewMiddleware(configuration) { apply(MiddlewareComponentMeta, this, [configuration]); }
  const proto = create(base);
  defineProperty(NewMiddleware, 'prototype', {value: proto});
  method(proto, 'constructor', NewMiddleware);
  method(proto, 'NewProcessRequest', function (callback) { this.ProcessRequest = callback; });
  method(proto, 'NewProcessResponse', function (callback) { this.ProcessResponse = callback; });
  method(proto, 'ReturnData', (request, session) => ({Request: request, SessionMeta: session}));
  method(proto, 'ReturnAuthData', (request, session) => ({Request: request, Session: session}));
  method(proto, 'ReturnResponseData', (response, session) => ({Response: response, SessionMeta: session}));
  function EventHandlerComponentMeta() {}
  const handler = EventHandlerComponentMeta.prototype;
  method(handler, 'DoProcessEvent', function (event, context) {
    say('debug', 'Calling built - in handle');
    return this.Handle(event, context);
  });
  method(handler, 'Handle', function () { say('info', 'Handler not implemented!'); });
  function NewEventHandler() { apply(EventHandlerComponentMeta, this, []); }
  const handlers = create(handler);
  defineProperty(NewEventHandler, 'prototype', {value: handlers});
  method(handlers, 'constructor', NewEventHandler);
  method(handlers, 'NewHandler', function (callback) { this.Handle = callback; });
  const core = {}, middleware = {}, events = {};
  method(core, 'TykMiddleware', middleware);
  method(core, 'TykEventHandlers', events);
  method(middleware, 'MiddlewareComponentMeta', MiddlewareComponentMeta);
  method(middleware, 'NewMiddleware', NewMiddleware);
  method(events, 'EventHandlerComponentMeta', EventHandlerComponentMeta);
  method(events, 'NewEventHandler', NewEventHandler);
  return core;
}
const core = makeCore();
publish('TykJS', core);
const coreObjects = [
  consoleObject, core, core.TykMiddleware, core.TykEventHandlers,
  ...[core.TykMiddleware.MiddlewareComponentMeta, core.TykMiddleware.NewMiddleware, core.TykEventHandlers.EventHandlerComponentMeta,
    core.TykEventHandlers.NewEventHandler].flatMap((type) => [type, type.prototype]),
];

// -- Underscore: made anew for each call that uses it ---------------------------------------------------------
let underscoreText = '', underscoreMaker = null, underscore = null;
defineProperty(global, '_', {
  get() {
    if (underscore === null && underscoreText) {
      underscoreMaker = underscoreMaker || harden(new BuiltIn('exports', 'module', underscoreText));
      const module = {exports: {}};
      apply(underscoreMaker, {}, [module.exports, module]);
      underscore = module.exports;
    }
    return underscore;
  },
  set(value) { underscore = value; },
  enumerable: false, configurable: false,
});
