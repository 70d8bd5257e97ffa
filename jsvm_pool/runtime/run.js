// Programs: all scripts of one API as one function, which every call runs anew (tyk-jsvm 4).
const programs = {__proto__: null}, runners = {__proto__: null};      // by the host's numbers
// What a result begins with that is not what the script returned, and the mark of one that was returned and begins like that.
const FAILED = '\u0001', PENDING = '\u0002', TAINTED = '\u0003', TOO_LONG = '\u0004', PLAIN = '\u0005';
const EDITS = '\u0006', LEFT_JOBS = '\u0007', LAST_MARK = 7;
// A program that writes to TykJS gets one of its own: undoing the change after each call costs more.
const WRITES_CORE = /TykJS(?:\s*\.\s*\w+|\s*\[[^\]]*\])*\s*=[^=]|TykJS[\s\S]{0,80}?\.prototype\b/;
const NATIVE_NAMES = keysOf(functions);
let edited = false;         // the result that is being made says what was edited
let ticket = 0, resultLimit = 1 << 24, emptySession = null;
harden(makeCore);

function message(error) {
  try {
    if (error !== null && typeof error === 'object' && typeof error.message === 'string') {
      return asText(error.name) + ': ' + error.message;
    }
    return 'Uncaught ' + asText(error);
  } catch {
    return 'Uncaught exception';
  }
}

function describe(error) {
  let stack = '';
  try {
    stack = error !== null && typeof error === 'object' ? asText(error.stack) : '';
  } catch {}
  return FAILED + quoted([apply(slice, message(error), [0, 2000]), apply(slice, stack, [0, 6000])]);
}

/** How often a text goes to a new line, as the engine counts. */
function lineCount(s) {
  let count = 0;
  for (let i = 0; i < s.length; i++) {
    const c = apply(charCodeAt, s, [i]);
    if (c === 10 || c === 0x2028 || c === 0x2029 || c === 13 && apply(charCodeAt, s, [i + 1]) !== 10) count++;
  }
  return count;
}

/** Why a text is not the body of a function, '' if it is. */
function invalid(...parts) {
  try {
    construct(BuiltIn, parts);
    return '';
  } catch (error) {
    return message(error);
  }
}

/** Why a text is not one expression: one that is not could end the statement that it becomes part of. */
function notExpression(s) {
  return invalid(`return (${s}\n);`) || invalid(`return [${s}\n];`);
}

/** Why a text is not a script, '' if it is. Not the same as a function's body: that may return. */
function notScript(s) {
  try {
    indirectEval('throw null;' + s);
  } catch (error) {
    if (error !== null && getPrototypeOf(error) === WrongSyntax.prototype) return message(error);
  }
  return '';
}
const NAME = /^[A-Za-z_$][\w$]*$/;

/** Leave out what would be more than a name and an expression. */
function checkedExports(pairs) {
  const checked = [];
  for (let i = 0; i < pairs.length; i++) {
    if (apply(regexpExec, NAME, [pairs[i][1]]) === null || invalid(`var ${pairs[i][1]};`)) continue;
    checked[checked.length] = [notExpression(pairs[i][0]) ? 'undefined' : pairs[i][0], pairs[i][1]];
  }
  return checked;
}

/** The text of a program, and [line, source] where each source begins. broken: sources that throw when they are loaded. */
function assemble(id, spec, skipped, broken) {
  let code = '(function($natives,$at,$failed,require,$require){', line = 1;
  const starts = [];
  if (spec.ownCore) code += 'var TykJS=$natives.makeCore();';
  for (let i = 0; i < spec.sources.length; i++) {
    if (skipped[i]) continue;
    const source = spec.sources[i];
    code += broken[i] ? 'try{' : '';
    // A statement in front keeps "use strict" from being a directive: Tyk's engine does not enforce it (tyk-jsvm 14.4).
    if (source.exports.length) {
      for (let k = 0; k < source.exports.length; k++) code += `;var ${source.exports[k][1]};`;
      code += `(function(require){$at(${i});`;
    } else code += `;$at(${i});`;
    code += '\n' + source.text + '\n';
    starts[starts.length] = [++line, i];
    line += lineCount(source.text) + 1;
    if (source.exports.length) {
      for (let k = 0; k < source.exports.length; k++) code += `;try{${source.exports[k][1]}=(${source.exports[k][0]}\n);}catch{}`;
      line += source.exports.length;
      code += `})($require(${i}));`;
    }
    if (source.library) {
      for (const name of NATIVE_NAMES) {
        if (new RegExp(`\\b(?:function|var|let)\\s+${name}\\b|(?:^|[^.\\w])${name}\\s*=[^=]`).test(source.text)) {
          code += `;${name}=$natives.${name};`;
        }
      }
    }
    if (broken[i]) code += `}catch($e){$failed(${i},$e);}`;
  }
  code += ';return function($entry){switch($entry){';
  for (let i = 0; i < spec.entries.length; i++) code += `case ${i}:return(${spec.entries[i]}\n);`;
  return {code: code + `}};})\n//# sourceURL=preforge:${id}`, starts};
}

const refuse = freeze((why) => { throw new Failure(why); });
const naturals = freeze({...functions, makeCore, refuse});

/** What require() means in the scripts of a program, for one run of it (CommonJS). */
function modulesOf(spec) {
  const loaded = {__proto__: null};
  const from = (requires) => (specifier) => {
    const name = requires[asText(specifier)];
    if (name === undefined) return noModule(specifier);
    const file = spec.modules[name];
    let module = loaded[name];
    if (module !== undefined) return module.exports;
    module = loaded[name] = {exports: {}, id: name, filename: name, loaded: false};
    if (file.json) module.exports = jsonParse(file.text);
    else {
      file.code = file.code || harden(new BuiltIn('exports', 'require', 'module', '__filename', '__dirname',
        file.text + `\n//# sourceURL=preforge-module:${file.index}`));
      const at = apply(lastIndexOf, name, ['/']);
      apply(file.code, module.exports, [module.exports, from(file.requires), module, name, at < 0 ? '.' : apply(slice, name, [0, at])]);
    }
    module.loaded = true;
    return module.exports;
  };
  return {require: from(spec.requires), of: (i) => from(spec.sources[i].requires)};
}
const noModule = freeze((specifier) => {
  throw new Failure(`Cannot find module '${asText(specifier)}': only modules that a script names in a literal require() are there`);
});
const NO_MODULES = freeze({require: noModule, of: freeze(() => noModule)});
const ignore = freeze(() => undefined);

function start(program, at, failed) {
  const modules = program.spec.hasModules ? modulesOf(program.spec) : NO_MODULES;
  return apply(program.code, global, [naturals, at, failed, modules.require, modules.of]);
}

/** Take a program: this is its JSON. Returns {errors: [[source, message, stack]], starts: [[line, source]]} as JSON, '' if the
 *  context is in use, TAINTED if it cannot be used any more. */
function take() {
  if (current !== 0) return '';
  if (!restore()) return TAINTED;
  const spec = jsonParse(this), errors = [], skipped = {}, broken = {};
  const id = spec.id, n = spec.sources.length;
  setPrototypeOf(spec.requires, null);
  setPrototypeOf(spec.modules, null);
  const files = keysOf(spec.modules);
  for (let i = 0; i < files.length; i++) {
    setPrototypeOf(spec.modules[files[i]], null);
    setPrototypeOf(spec.modules[files[i]].requires, null);
  }
  for (let i = 0; i < n; i++) setPrototypeOf(spec.sources[i].requires, null);
  for (let i = 0; i < spec.entries.length; i++) {
    const why = notExpression(spec.entries[i]);
    if (why) spec.entries[i] = `$natives.refuse(${jsonStringify(`${jsonStringify(spec.entries[i])} is not an expression: ${why}`)})`;
  }
  let all = '';
  for (let i = 0; i < n; i++) {
    const why = notScript(spec.sources[i].text);
    spec.sources[i].exports = checkedExports(spec.sources[i].exports);
    if (why) {
      skipped[i] = true;
      errors[errors.length] = [i, why, ''];
    } else all += spec.sources[i].text;
  }
  restore();
  spec.ownCore = WRITES_CORE.test(all);
  let starts, last;
  const compile = () => {
    const made = assemble(id, spec, skipped, broken);
    starts = made.starts;
    return harden(indirectEval(made.code));
  };
  const program = {spec, code: null, shared: null};
  let leaves = spec.jobs;
  try {
    program.code = compile();
  } catch {
    // Two scripts that declare the same name with let or const: the later one is left out, as an engine would do it.
    const rest = [];
    for (let i = 0; i < n; i++) if (!skipped[i]) { rest[rest.length] = i; skipped[i] = true; }
    for (let k = 0; k < rest.length; k++) {
      const i = rest[k];
      delete skipped[i];
      try {
        program.code = compile();
      } catch (error) {
        skipped[i] = true;
        errors[errors.length] = [i, message(error), ''];
      }
    }
    program.code = compile();
  }
  for (let round = 0; round <= n; round++) {
    last = -1;
    logged = 0;
    underscore = null;
    quiet = spec.quiet || round > 0;
    silent = false;
    loading = true;
    let why = null;
    try {
      start(program, (i) => { if (typeof i === 'number' && i > last && i < n && i === (i | 0)) last = i; }, ignore);
    } catch (error) {
      why = [last, message(error), apply(slice, describe(error), [1])];
    }
    loading = false;
    leaves = leaves || jobs;
    if (!restore()) return TAINTED;
    if (why === null || last < 0 || broken[last]) break;
    broken[last] = true;
    errors[errors.length] = why;
    program.code = compile();
  }
  quiet = false;
  if (leaves) dirty = symbols = proxied = true;     // jobs run when this has ended, with all that they were given
  programs[id] = program;
  return jsonStringify({errors, starts});
}

/** Forget a program with its runners, and other runners: this is [its number or -1, their numbers] as JSON. */
function drop() {
  const what = jsonParse(this), program = programs[what[0]], gone = what[1], numbers = keysOf(runners);
  delete programs[what[0]];
  for (let i = 0; i < numbers.length; i++) if (runners[numbers[i]].program === program) delete runners[numbers[i]];
  for (let i = 0; i < gone.length; i++) delete runners[gone[i]];
  return '';
}

// -- calls -----------------------------------------------------------------------------------------------------

function finished(out) {
  const result = typeof out === 'string' ? out : asText(out);
  const mine = edited;
  edited = false;
  if (result.length > resultLimit) return TOO_LONG;
  if (mine) return result;
  return result.length && codeAt(result, 0) <= LAST_MARK ? PLAIN + result : result;
}

function settle(call, work) {
  if (call !== current) return;
  let out;
  try {
    out = finished(work());
  } catch (error) {
    out = describe(error);
  }
  current = 0;
  post(OP_RESULT, apply(toWellFormed, out, []));
  silent = true;
}

/** What the handler returned, as text; a promise is awaited. */
function deliverOf(value, finish) {
  if (value !== null && typeof value === 'object' && typeof value.then === 'function') {
    const call = current;
    apply(promiseThen, apply(promiseResolve, PromiseType, [value]), [
      (result) => settle(call, () => finish(result)),
      (error) => settle(call, () => { throw error; }),
    ]);
    return PENDING;
  }
  const out = finished(finish(value));
  current = 0;
  return out;
}

const same = (value) => value;

/** Whether an object of the request has nothing in it. */
function isEmpty(object) {
  for (const key in object) return false;
  return true;
}

/** Whether an object has these members in this order. */
function hasOnly(object, names) {
  let i = 0;
  for (const key in object) if (key !== names[i++]) return false;
  return i === names.length;
}

/** Whether ReturnOverrides is what it was. */
function untouched(o) {
  return hasOnly(o, OVERRIDES_MEMBERS) && o.ResponseCode === 0 && o.ResponseError === '' && o.ResponseBody === ''
    && o.ResponseHeaders === null && o.OverrideError === false;
}
const RESULT_MEMBERS = ['Request', 'SessionMeta'];
const REQUEST_MEMBERS = keysOf(newRequest([]));
const OVERRIDES_MEMBERS = keysOf(newRequest([]).ReturnOverrides);

/** The request that hooks are given. a: see unpack. */
function newRequest(a) {
  return {
    Headers: a[1], SetHeaders: {}, DeleteHeaders: [], Body: a[2], URL: a[3] === 0 ? a[6] : a[3], Params: a[4] === 0 ? {} : a[4],
    AddParams: {}, ExtendedParams: {}, DeleteParams: [],
    ReturnOverrides: {ResponseCode: 0, ResponseError: '', ResponseBody: '', ResponseHeaders: null, OverrideError: false},
    IgnoreBody: false, Method: a[5], RequestURI: a[6], Scheme: a[0] === 1 ? 'https' : 'http',
  };
}

/** What a call is given. a: [1 for https, headers, body, URL or 0 for that of the request line, parameters or 0 for none, method,
 *  URL of the request line, session or 0 for an empty one, address of the peer, that of the client or 0 for the same, id of the
 *  request, version, path of the entry, values of its variables or 0 for none, response]; others are what they are. */
function unpack(a, runner) {
  if (!isArray(a)) {
    if (a.session === 0) a.session = emptySession();
    return a;
  }
  return {
    request: runner.mode === modes.virtual
      ? {Headers: a[1], Body: a[2], URL: a[3] === 0 ? a[6] : a[3], Params: a[4] === 0 ? {} : a[4], Scheme: a[0] === 1 ? 'https' : 'http'}
      : newRequest(a),
    session: a[7] === 0 ? emptySession() : a[7],
    config: runner.config(),
    extra: {
      RemoteAddr: a[8], ClientAddr: a[9] === 0 ? a[8] : a[9], RequestID: a[10], APIID: runner.api, APIName: runner.name, Hook: runner.hook,
      Version: a[11], Path: a[12], PathParams: a[13] === 0 ? {} : a[13],
    },
    response: a[14],
  };
}

/** A result that only edits headers and parameters, as most do: [SetHeaders, DeleteHeaders, AddParams, SessionMeta] behind EDITS;
 *  '' for others. */
function edits(result, a, body, url, overrides, parts) {
  const request = result.Request;
  if (request !== a.request || request.Body !== body || request.URL !== url || request.IgnoreBody !== false
      || request.ReturnOverrides !== overrides || !untouched(overrides)
      || request.SetHeaders !== parts[0] || request.DeleteHeaders !== parts[1] || request.AddParams !== parts[2]
      || request.ExtendedParams !== parts[3] || !isEmpty(parts[3]) || request.DeleteParams !== parts[4] || parts[4].length !== 0
      || request.toJSON !== undefined || result.toJSON !== undefined || parts.toJSON !== undefined
      || !hasOnly(result, RESULT_MEMBERS) || !hasOnly(request, REQUEST_MEMBERS)) return '';
  edited = true;
  return EDITS + jsonStringify([parts[0], parts[1], parts[2], result.SessionMeta]);
}

const modes = {
  request(handler, a) {
    const request = a.request, params = request.Params, method = request.Method, uri = request.RequestURI, scheme = request.Scheme;
    if (handler.DoProcessRequest !== doProcessRequest) {
      request.Body = toBase64(request.Body, false);
      return deliverOf(handler.DoProcessRequest(request, a.session, a.config, a.extra), same);
    }
    const body = request.Body, url = request.URL, overrides = request.ReturnOverrides;
    const parts = [request.SetHeaders, request.DeleteHeaders, request.AddParams, request.ExtendedParams, request.DeleteParams];
    return deliverOf(handler.ProcessRequest(request, a.session, a.config, a.extra), (result) => {
      if (!result) {
        say('error', "Middleware didn't return request object!");
        return undefined;
      }
      const quick = edits(result, a, body, url, overrides, parts);
      if (quick) return quick;
      const returned = result.Request;
      // What scripts cannot change need not be read again.
      returned.Headers = undefined;
      if (returned.Params === params) returned.Params = undefined;
      if (returned.Method === method) returned.Method = undefined;
      if (returned.RequestURI === uri) returned.RequestURI = undefined;
      if (returned.Scheme === scheme) returned.Scheme = undefined;
      const unchanged = returned.Body === body;
      if (unchanged) returned.Body = undefined;
      else returned.Body = asText(returned.Body);
      const out = jsonStringify(result);
      return (unchanged ? '{"$same":true,' : '{"$plain":true,') + apply(slice, out, [1]);
    });
  },
  response(handler, a) {
    const body = a.response.Body;
    if (handler.DoProcessResponse !== doProcessResponse) {
      return deliverOf(handler.DoProcessResponse(a.response, a.request, a.session, a.config, a.extra), same);
    }
    return deliverOf(handler.ProcessResponse(a.response, a.request, a.session, a.config, a.extra), (result) => {
      if (!result) {
        say('error', "Middleware didn't return response object!");
        return undefined;
      }
      const returned = result.Response;
      if (returned !== null && typeof returned === 'object' && returned.Body === body) {
        returned.Body = undefined;
        return '{"$same":true,' + apply(slice, jsonStringify(result), [1]);
      }
      return jsonStringify(result);
    });
  },
  virtual(handler, a) {
    return deliverOf(handler(a.request, a.session, a.config, a.extra), same);
  },
  event(handler, a) {
    return deliverOf(handler.DoProcessEvent(a.event, a.context), () => '');
  },
};
freeze(modes);

const MOST_LITERAL = 8192;

/** A function that makes a value anew each time, from its JSON. */
function maker(json) {
  // The engine keeps what it compiles. In a literal the name __proto__ would set the prototype.
  if (json.length > MOST_LITERAL || apply(indexOf, json, ['__proto__']) >= 0 || apply(indexOf, json, ['\\u']) >= 0) return harden(() => jsonParse(json));
  return harden(new BuiltIn(`return (${json});`));
}

/** Take note of what a call may name: this is [number, program, entry, mode, {config, api, name, hook} or null] as JSON;
 *  config: JSON. Returns '' without the program. */
function runner() {
  const spec = jsonParse(this), program = programs[spec[1]];
  if (program === undefined) return '';
  const same = spec[4] === null ? {config: 'null', api: '', name: '', hook: ''} : spec[4];
  runners[spec[0]] = {
    program, entry: spec[2], mode: modes[spec[3]], config: maker(same.config), api: same.api, name: same.name, hook: same.hook,
  };
  return 'known';
}

/** Run one call. Returns the text of its result, PENDING or TAINTED. */
function run(runner, payload) {
  const program = runner.program, shared = program.spec.shared;
  if (!shared && !restored()) return TAINTED;
  words[W_RUNS] = ticket;
  current = ticket === 0 ? 1 : ticket;
  jobs = program.spec.jobs;
  edited = false;
  logged = 0;
  silent = false;
  underscore = null;
  if (pendingFetches.size) apply(mapClear, pendingFetches, []);
  try {
    let handlers = program.shared;
    if (handlers === null) {
      quiet = true;
      try {
        handlers = start(program, ignore, ignore);
      } finally {
        quiet = false;
      }
      if (shared) program.shared = handlers;
    }
    return runner.mode(handlers(runner.entry), unpack(payload, runner));
  } catch (error) {
    current = 0;
    return describe(error);
  }
}

/** Put a result behind the others of its batch. Returns where the next one goes, 0 if there is no room. */
function record(out, at, end) {
  const n = out.length, start = at + RECORD_HEAD;
  if (start + n > end) return 0;
  let bits = 0;
  if (!dirty && StringPrototype.charCodeAt === charCodeAt) {     // the quickest way, if no script has changed it
    for (let i = 0; i < n; i++) {
      const c = out.charCodeAt(i);
      bits |= c;
      octets[start + i] = c;
    }
  } else {
    for (let i = 0; i < n; i++) {
      const c = codeAt(out, i);
      bits |= c;
      octets[start + i] = c;
    }
  }
  if (bits > 127) {
    if (start + 2 * n > end) return 0;
    for (let i = 0, k = start >> 1; i < n; i++) wide[k + i] = codeAt(out, i);
  }
  heads[at >> 2] = n;
  heads[(at >> 2) + 1] = bits > 127 ? 1 : 0;
  return start + (bits > 127 ? 2 * n : n) + 3 & -4;
}

/** Run several calls, one after the other: this is [half, ticket of the first, [runner, payload], ...] as JSON. What they
 *  return goes into their half of the memory for results, where the host finds it also before the last one is done.
 *  The batch ends before its last call where one has a result that is not put there, which is then what this returns; where
 *  one has the context for itself; and where the host has them skipped. It ends with LEFT_JOBS behind a call that may have left
 *  jobs to the engine's queue, which run now: no other call must have begun by then, or have left some before. */
function batch() {
  const calls = jsonParse(this), half = calls[0], first = calls[1], end = (half + 1) * HALF_BYTES;
  let at = half * HALF_BYTES;
  for (let i = 2; i < calls.length; i++) {
    const n = first + i - 2 | 0, runner = runners[calls[i][0]];
    if ((words[W_SKIP] - n | 0) >= 0 || current !== 0 || runner === undefined) return undefined;
    ticket = n;
    store(words, W_STARTED, n);
    if ((load(words, W_SKIP) - n | 0) >= 0) return undefined;       // again: the host looks at what has begun after it has set this
    const out = run(runner, calls[i][1]);
    if (out === PENDING || out === TAINTED) return out;
    at = record(out, at, end);
    if (at === 0) return apply(toWellFormed, out, []);
    store(words, W_DONE + half, i - 1);
    if (jobs) return LEFT_JOBS;
  }
  return undefined;
}

/** Settings: this is their JSON. */
function configure() {
  const settings = jsonParse(this);
  logLimit = settings.log_bytes;
  resultLimit = settings.result_bytes;
  emptySession = new BuiltIn(`return (${settings.empty_session});`);
  return '';
}

/** Begin: what the host gives are the mailbox and the bell. */
function boot(mailbox, ring, settings) {
  words = new Words(mailbox, 0, MAIL_HEAD / 4);
  units = new Units(mailbox, MAIL_HEAD, MAIL_UNITS);
  const results = MAIL_HEAD + 2 * MAIL_UNITS;
  octets = new Bytes(mailbox, results);
  wide = new Units(mailbox, results);
  heads = new Words(mailbox, results);
  bell = ring;
  settings = jsonParse(settings);
  underscoreText = settings.underscore;
  apply(configure, jsonStringify(settings), []);
  guard(coreObjects);
  return [take, drop, runner, deliver, configure, batch];
}
