// Isolation: scripts may change some built-ins; each change is undone before the next call. All other built-ins are frozen.
//
// Before a call, a quick look at each watched object tells whether it is what it was: the values of its properties,
// and that nothing enumerable has been added (all that it had are made not enumerable). What the quick look
// cannot see is noticed when it is done: the functions that can do it are replaced by ones that say so.
let dirty = false;          // something that the quick look cannot see may have changed
let symbols = false;        // the call has had symbols in hand, whose properties the quick look cannot see
let jobs = false;           // the call may have left jobs to the engine's queue
const watched = [];         // [object, prototype, keys, descriptors], Object.prototype first
const looks = [];           // for each of them: () => whether it is what it was
const watchedSet = new WeakSet();
let seldom = null, seldomLooks = null;      // the same of what only a script that has symbols can reach
let watchedObjects = null;  // with the global one
let globals = null, lookAtGlobals = null;

function isWatched(target) {
  return target === global || (typeof target === 'object' || typeof target === 'function') && target !== null
    && apply(setHas, watchedSet, [target]);
}

/** A descriptor that leaves a property of a watched object removable: undoing needs that, and few scripts can tell. */
function removable(target, key, descriptor) {
  const was = getOwnPropertyDescriptor(target, key);
  if (was !== undefined && !was.configurable || descriptor === null || typeof descriptor !== 'object') return descriptor;
  const kept = {__proto__: null};
  for (let i = 0; i < FIELDS.length; i++) if (FIELDS[i] in descriptor) kept[FIELDS[i]] = descriptor[FIELDS[i]];
  kept.configurable = true;
  return kept;
}
const FIELDS = ['value', 'writable', 'enumerable', 'get', 'set'];

/** Have a global that says when scripts get at it. Returns what puts its value back. */
function noticeUse(name, notice) {
  const was = global[name];
  let value = was;
  defineProperty(global, name, {
    get() { notice(); return value; },
    set(other) { notice(); value = other; },
    enumerable: false, configurable: false,
  });
  return () => { value = was; };
}

function noticeDefinition(inner) {
  return (target, key, descriptor) => {
    if (isWatched(target)) {
      dirty = true;
      descriptor = removable(target, key, descriptor);
    }
    return inner(target, key, descriptor);
  };
}
replace(Object, 'defineProperty', noticeDefinition);
replace(Reflect, 'defineProperty', noticeDefinition);
replace(Object, 'defineProperties', (inner) => (target, descriptors) => {
  if (!isWatched(target) || descriptors === null || descriptors === undefined) return inner(target, descriptors);
  dirty = true;
  const kept = {__proto__: null}, names = ownKeys(descriptors);
  for (let i = 0; i < names.length; i++) {
    const d = getOwnPropertyDescriptor(descriptors, names[i]);
    if (d !== undefined && d.enumerable) kept[names[i]] = removable(target, names[i], descriptors[names[i]]);
  }
  return inner(target, kept);
});
// A watched object that is frozen could not be put back: this is only said to have been done.
for (const name of ['freeze', 'seal', 'preventExtensions']) {
  replace(Object, name, (inner) => (target) => isWatched(target) ? target : inner(target));
}
replace(Reflect, 'preventExtensions', (inner) => (target) => isWatched(target) || inner(target));
for (const holder of [Object, Reflect]) {
  replace(holder, 'setPrototypeOf', (inner) => (target, prototype) => {
    if (isWatched(target)) dirty = true;
    return inner(target, prototype);
  });
}
{
  const {get, set} = getOwnPropertyDescriptor(Object.prototype, '__proto__');
  const noticed = {
    set ['__proto__'](prototype) {
      if (isWatched(this)) dirty = true;
      apply(set, this, [prototype]);
    },
  };
  defineProperty(Object.prototype, '__proto__', {get, set: getOwnPropertyDescriptor(noticed, '__proto__').set});
}
for (const name of ['__defineGetter__', '__defineSetter__']) {
  replace(Object.prototype, name, (inner) => ({
    [name](key, accessor) {
      if (isWatched(this)) dirty = true;
      return apply(inner, this, [key, accessor]);
    },
  })[name]);
}
replace(Object, 'assign', (inner) => (target, ...sources) => {
  if (isWatched(target)) dirty = true;
  return apply(inner, Object, [target, ...sources]);
});
replace(Error, 'captureStackTrace', (inner) => (target, above) => {
  if (isWatched(target)) dirty = true;
  return inner(target, above);
});
// Symbols come from the global Symbol, from functions that list them, and from the traps of proxies.
replace(Object, 'getOwnPropertySymbols', (inner) => (target) => { symbols = true; return inner(target); });
replace(Reflect, 'ownKeys', (inner) => (target) => { symbols = true; return inner(target); });
const resetSymbol = noticeUse('Symbol', () => { symbols = true; });
// Jobs of the engine's queue come from promises, and those from these, or from code that is asynchronous.
const resetJobs = ['Promise', 'AsyncDisposableStack', 'eval'].map((name) => noticeUse(name, () => { jobs = true; }));
replace(Array, 'fromAsync', (inner) => ({
  fromAsync(...args) { jobs = true; return apply(inner, this, args); },
}).fromAsync);
const ASYNCHRONOUS = ['async', 'import'];

/** Put a constructor of functions in place of a built-in one: their text may be asynchronous. */
function noticeTexts(inner) {
  const outer = function (...parts) {
    for (let i = 0; i < parts.length; i++) {
      const part = parts[i] = `${parts[i]}`;
      for (let k = 0; k < ASYNCHRONOUS.length; k++) if (apply(indexOf, part, [ASYNCHRONOUS[k]]) >= 0) jobs = true;
    }
    return construct(inner, parts, new.target === undefined || new.target === outer ? inner : new.target);
  };
  for (const key of ownKeys(inner)) defineProperty(outer, key, getOwnPropertyDescriptor(inner, key));
  defineProperty(inner.prototype, 'constructor', {value: outer});
  return outer;
}
{
  const outer = noticeTexts(Function);
  defineProperty(global, 'Function', {value: outer});
  // Those of asynchronous functions only come from such functions.
  for (const f of [function* () {}, async function () {}, async function* () {}]) setPrototypeOf(f.constructor, outer);
  setPrototypeOf(noticeTexts((function* () {}).constructor), outer);
}
function noticeProxy(target, proxy) {
  symbols = proxied = true;
  apply(addProxy, proxies, [proxy]);
  if (isWatched(target)) dirty = true;
  return proxy;
}
replace(Proxy, 'revocable', (inner) => (target, handler) => {
  const made = inner(target, handler);
  noticeProxy(target, made.proxy);
  return made;
});
replace(global, 'Proxy', () => {
  function Proxy(target, handler) {
    if (new.target === undefined) throw new WrongType("Constructor Proxy requires 'new'");
    return noticeProxy(target, new ProxyType(target, handler));
  }
  defineProperty(Proxy, 'prototype', {value: undefined});
  defineProperty(Proxy, 'revocable', {value: ProxyType.revocable, writable: true, configurable: true});
  return Proxy;
});

/** Every object that scripts can get at without making it themselves. */
function eachIntrinsic(visit) {
  const seen = new Set();
  const segments = new Intl.Segmenter('en').segment('a'), stack = getOwnPropertyDescriptor(new Error(''), 'stack');
  Error.prepareStackTrace = (error, sites) => sites;
  const site = new Error('').stack[0];
  delete Error.prepareStackTrace;
  const queue = [
    global, SymbolType, (function* () {}).constructor, (async function () {}).constructor, (async function* () {}).constructor,
    getPrototypeOf([][SymbolType.iterator]()), getPrototypeOf(''[SymbolType.iterator]()), getPrototypeOf(new Map().entries()),
    getPrototypeOf(new Set().values()), getPrototypeOf('a'.matchAll(/a/g)), getPrototypeOf(Bytes), ProxyType,
    getPrototypeOf((async function* () {}).constructor.prototype), getPrototypeOf(Iterator.from({next() {}})),
    getPrototypeOf([].values().map((x) => x)), getPrototypeOf(segments), getPrototypeOf(segments[SymbolType.iterator]()),
    getPrototypeOf(site), stack.get, stack.set,
    getOwnPropertyDescriptor((function () { return arguments; })(), 'callee').get,
  ];
  while (queue.length) {
    const object = queue.pop();
    if (object === null || (typeof object !== 'object' && typeof object !== 'function') || seen.has(object)) continue;
    seen.add(object);
    queue.push(getPrototypeOf(object));
    for (const key of ownKeys(object)) {
      const d = getOwnPropertyDescriptor(object, key);
      queue.push(d.value, d.get, d.set);
    }
    if (object !== global) visit(object);
  }
}

/** Freeze a function of the runtime that scripts can get at, and its prototype: they must not keep state in it. */
function harden(f) {
  if (f.prototype) freeze(f.prototype);
  return freeze(f);
}

function snapshot(object) {
  const keys = ownKeys(object), descriptors = [];
  for (const key of keys) {
    const d = getOwnPropertyDescriptor(object, key);
    // Without a prototype where it is put back itself: scripts may put "get" and "value" on it. It is the first to be put back.
    if (object === ObjectPrototype) setPrototypeOf(d, null);
    descriptors.push(d);
  }
  return [object, getPrototypeOf(object), keys, descriptors];
}

function watch(object) {
  if (apply(setHas, watchedSet, [object])) return null;
  watchedSet.add(object);
  for (const key of ownKeys(object)) {
    const d = getOwnPropertyDescriptor(object, key);
    // What assignment cannot change must not be deleted either: the quick look does not look at it.
    if (d.configurable && (d.get || d.set || !d.writable)) defineProperty(object, key, {configurable: false});
    if (d.enumerable) defineProperty(object, key, {enumerable: false});
  }
  return snapshot(object);
}

/** Let the engine keep an object's properties where it finds them fast: it does so for prototypes that are looked at. */
function settleShape(object) {
  function Type() {}
  Type.prototype = object;
  const instance = new Type();
  const look = () => instance.missing;
  for (let i = 0; i < 10; i++) look();
}

/** Called once, when all globals are there: from now on changes are undone. */
function guard(own) {
  const types = [Object, Function, Array, String, Number, Boolean, Date, RegExp, Error, EvalError, RangeError, ReferenceError, SyntaxError,
    TypeError, URIError, AggregateError, Promise, Map, Set, WeakMap, WeakSet, BigInt, Uint8Array];
  const objects = [Object.prototype, ...types.flatMap((type) => [type, type.prototype]), getPrototypeOf(Bytes), getPrototypeOf(Bytes).prototype,
    Iterator.prototype, getPrototypeOf(function* () {}).prototype, Math, JSON, Reflect, ...own];
  for (const object of objects) {
    const entry = watch(object);
    if (entry !== null) watched.push(entry);
  }
  seldom = [watch(SymbolType), watch(SymbolType.prototype)];
  seldomLooks = seldom.map(quickLook);
  eachIntrinsic((object) => { if (!watchedSet.has(object)) freeze(object); });
  globals = snapshot(global);
  watchedObjects = [...watched, ...seldom].map((entry) => entry[0]).concat([global]);
  for (const [object] of watched) settleShape(object);
  for (const entry of watched) looks.push(quickLook(entry));
  lookAtGlobals = quickLook(globals);
}

/** A function that says whether an object is what it was, as straight code: engines make very little of that. */
function quickLook([object, prototype, keys, descriptors]) {
  const names = ['o', 'hasOwn'], values = [object, hasOwn], tests = [];
  // An enumerable property is one that somebody has added: for-in says that fastest. Those of the global object are removed.
  if (object !== global) tests.push('for(const k in o)return false;');
  const constant = (value) => { names.push(`c${names.length}`); values.push(value); return names[names.length - 1]; };
  keys.forEach((key, i) => {
    const d = descriptors[i];
    if (d.get || d.set || !d.writable) return;
    const name = typeof key === 'string' ? jsonStringify(key) : constant(key);
    tests.push(`if(o[${name}]!==${constant(d.value)})return false;`);
    if (prototype !== null && prototype[key] === d.value) tests.push(`if(!hasOwn(o,${name}))return false;`);
  });
  return new BuiltIn(...names, `'use strict';return ()=>{${tests.join('')}return true;}`)(...values);
}

// Properties that are taken away again; with more, a new context costs less than they do, and the next call is not to wait for it.
const MOST_ADDED = 4096;

function undo(entry) {
  const object = entry[0], prototype = entry[1], keys = entry[2], descriptors = entry[3];
  if (!isExtensible(object)) return false;
  if (getPrototypeOf(object) !== prototype && !setPrototypeOf(object, prototype)) return false;
  const now = ownKeys(object);
  if (now.length > keys.length + MOST_ADDED) return false;
  for (let i = 0; i < now.length; i++) {
    let known = i < keys.length && keys[i] === now[i];
    for (let j = 0; j < keys.length && !known; j++) known = keys[j] === now[i];
    if (!known && !deleteProperty(object, now[i])) return false;
  }
  for (let i = 0; i < keys.length; i++) {
    const was = descriptors[i], is = getOwnPropertyDescriptor(object, keys[i]);
    if (is !== undefined && object === ObjectPrototype) setPrototypeOf(is, null);
    if (is === undefined || is.value !== was.value || is.get !== was.get || is.set !== was.set || is.writable !== was.writable
        || is.enumerable !== was.enumerable || is.configurable !== was.configurable) {
      if (!defineProperty(object, keys[i], was)) return false;
    }
  }
  return true;
}

/** Whether watched objects have got symbols as keys. All that they had are not enumerable, and those that assignment makes are. */
function haveSymbols() {
  const sink = {__proto__: null};
  for (let i = 0; i < watchedObjects.length; i++) assign(sink, watchedObjects[i]);
  return symbolsOf(sink).length > 0;
}

/** Put everything back that earlier calls have changed. Returns false if that cannot be done. */
function restore() {
  apply(regexpExec, EMPTY, ['']);               // RegExp.$1 and its like
  const added = keysOf(global);
  if (added.length > MOST_ADDED) return false;
  for (let i = 0; i < added.length; i++) if (!deleteProperty(global, added[i])) dirty = true;
  if (symbols && !dirty) dirty = haveSymbols();
  const all = dirty;
  for (let i = 0; i < watched.length; i++) if ((all || !looks[i]()) && !undo(watched[i])) return false;
  if (jobs) for (let i = 0; i < resetJobs.length; i++) resetJobs[i]();
  if (symbols) {
    resetSymbol();
    for (let i = 0; i < seldom.length; i++) if ((all || !seldomLooks[i]()) && !undo(seldom[i])) return false;
  }
  if ((all || !lookAtGlobals()) && !undo(globals)) return false;
  dirty = symbols = proxied = jobs = false;
  return true;
}

/** The same, false too if it failed on the way. */
function restored() {
  try {
    return restore();
  } catch {
    return false;
  }
}
