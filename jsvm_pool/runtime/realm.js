// What the runtime uses of the language, taken before any script runs: scripts may change everything else.
const global = globalThis;
const {apply, construct, defineProperty, deleteProperty, getOwnPropertyDescriptor, getPrototypeOf, setPrototypeOf, ownKeys} = Reflect;
const isExtensible = Object.isExtensible, freeze = Object.freeze, keysOf = Object.keys, create = Object.create;
const jsonParse = JSON.parse, jsonStringify = JSON.stringify;
const text = String, fromCharCode = String.fromCharCode, BuiltIn = Function, Failure = Error, WrongType = TypeError;
const promiseThen = Promise.prototype.then, promiseResolve = Promise.resolve, PromiseType = Promise;
const charCodeAt = String.prototype.charCodeAt, slice = String.prototype.slice, indexOf = String.prototype.indexOf;
const lastIndexOf = String.prototype.lastIndexOf;
const regexpExec = RegExp.prototype.exec, setHas = WeakSet.prototype.has;
const bytesFromBase64 = Uint8Array.fromBase64, bytesToBase64 = Uint8Array.prototype.toBase64;
const Bytes = Uint8Array, Units = Uint16Array, Words = Int32Array, subarray = Uint8Array.prototype.subarray;
const unitsSubarray = Uint16Array.prototype.subarray;
const store = Atomics.store, load = Atomics.load;
const indirectEval = eval;
const EMPTY = /^/;

// Not for scripts: memory outside of the heap's limit, waiting that no limit sees, and code that runs after its call.
for (const name of ['SharedArrayBuffer', 'Atomics', 'WebAssembly', 'FinalizationRegistry', 'WeakRef']) delete global[name];

// Built-ins that scripts may change: each change is seen and undone before the next call. All others are frozen.
let dirty = false;          // something that the quick look cannot see may have changed
let symbols = false;        // the call has used symbols, whose properties the quick look cannot see
const watched = [];         // [object, prototype, keys, descriptors]
const watchedSet = new WeakSet();
let globals = null;         // the same for the global object
let unchanged = null;       // () => whether all values of watched objects are what they were

/** Keep scripts from asking for so much at once that the engine gives up the process instead of throwing. */
const MOST_LENGTH = 1 << 24;
function bound(holder, name, tooLong) {
  const inner = holder[name];
  const outer = {
    [name](...args) {
      if (tooLong(this, args)) throw new RangeError('Invalid array length');
      return apply(inner, this, args);
    },
  }[name];
  defineProperty(outer, 'length', {value: inner.length, configurable: true});
  defineProperty(holder, name, {value: outer, writable: true, configurable: true});
}
const longReceiver = (self) => self != null && self.length > MOST_LENGTH;
for (const name of ['fill', 'reverse', 'sort', 'splice', 'unshift', 'copyWithin', 'concat', 'join', 'indexOf', 'lastIndexOf',
  'includes', 'toReversed', 'toSorted', 'toSpliced', 'with', 'flat', 'slice']) {
  bound(Array.prototype, name, longReceiver);
}
bound(Array, 'from', (self, args) => longReceiver(args[0]));
bound(String.prototype, 'split', longReceiver);
const tooMuchText = (self, args) => args[0] * (typeof self === 'string' ? self.length : 1) > MOST_LENGTH * 4;
bound(String.prototype, 'repeat', tooMuchText);
bound(String.prototype, 'padStart', (self, args) => args[0] > MOST_LENGTH * 4);
bound(String.prototype, 'padEnd', (self, args) => args[0] > MOST_LENGTH * 4);
bound(String.prototype, 'replace', longReceiver);
bound(String.prototype, 'replaceAll', longReceiver);

/** Notice operations on watched objects that the quick look would miss. */
function notice(holder, name, spoils) {
  const inner = holder[name];
  const outer = {
    [name](...args) {
      const target = spoils === 'receiver' ? this : args[0];
      if (target === global || (typeof target === 'object' || typeof target === 'function') && target !== null
          && apply(setHas, watchedSet, [target])) dirty = true;
      return apply(inner, this, args);
    },
  }[name];
  defineProperty(outer, 'length', {value: inner.length, configurable: true});
  defineProperty(holder, name, {value: outer, writable: true, configurable: true});
}
for (const name of ['defineProperty', 'defineProperties', 'freeze', 'seal', 'preventExtensions']) notice(Object, name);
for (const name of ['defineProperty', 'preventExtensions']) notice(Reflect, name);
for (const name of ['__defineGetter__', '__defineSetter__']) notice(Object.prototype, name, 'receiver');
function seesSymbols(holder, name) {
  const inner = holder[name];
  const outer = {[name](target) { symbols = true; return inner(target); }}[name];
  defineProperty(holder, name, {value: outer, writable: true, configurable: true});
}
seesSymbols(Object, 'getOwnPropertySymbols');
seesSymbols(Reflect, 'ownKeys');
let symbolGlobal = Symbol;
const SymbolType = Symbol;
defineProperty(global, 'Symbol', {
  get() { symbols = true; return symbolGlobal; },
  set(value) { symbols = true; symbolGlobal = value; },
  enumerable: false, configurable: true,
});

function eachIntrinsic(visit) {
  const seen = new Set();
  const queue = [
    global, SymbolType, (function* () {}).constructor, (async function () {}).constructor, (async function* () {}).constructor,
    getPrototypeOf([][SymbolType.iterator]()), getPrototypeOf(''[SymbolType.iterator]()), getPrototypeOf(new Map().entries()),
    getPrototypeOf(new Set().values()), getPrototypeOf('a'.matchAll(/a/g)), getPrototypeOf(Bytes), new Error('').constructor,
    getPrototypeOf((async function* () {}).constructor.prototype), getPrototypeOf(Iterator.from({next() {}})),
    getPrototypeOf([].values().map((x) => x)),
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

function watch(object) {
  if (apply(setHas, watchedSet, [object])) return;
  watchedSet.add(object);
  for (const key of ownKeys(object)) {
    const d = getOwnPropertyDescriptor(object, key);
    // What assignment cannot change must not be deleted either: the quick look does not look at it.
    if (d.configurable && (d.get || d.set || !d.writable)) defineProperty(object, key, {configurable: false});
    if (d.enumerable) defineProperty(object, key, {enumerable: false});
  }
  const keys = ownKeys(object);
  watched.push([object, getPrototypeOf(object), keys, keys.map((key) => getOwnPropertyDescriptor(object, key))]);
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
    TypeError, URIError, AggregateError, Promise, Map, Set, WeakMap, WeakSet];
  for (const type of types) { watch(type); watch(type.prototype); }
  for (const object of [Math, JSON, Reflect, ...own]) watch(object);
  eachIntrinsic((object) => { if (!watchedSet.has(object)) freeze(object); });
  const keys = ownKeys(global);
  globals = [global, getPrototypeOf(global), keys, keys.map((key) => getOwnPropertyDescriptor(global, key))];
  for (const [object] of watched) settleShape(object);
  const looks = [...watched, globals].flatMap(quickLook);
  unchanged = () => {
    for (let i = 0; i < looks.length; i++) if (!looks[i]()) return false;
    return true;
  };
}

/** Functions that say whether an object is what it was, as straight code: engines make very little of that. */
function quickLook([object, prototype, keys, descriptors]) {
  const names = ['o', 'prototype', 'getPrototypeOf'], values = [object, prototype, getPrototypeOf];
  const tests = [];
  if (object !== global) {
    tests.push('if(getPrototypeOf(o)!==prototype)return false;');
    // An enumerable property is one that somebody has added: for-in says that fastest.
    tests.push('for(const k in o)return false;');
  }
  keys.forEach((key, i) => {
    const d = descriptors[i];
    if (d.get || d.set || !d.writable) return;
    const constant = (value) => { names.push(`c${names.length}`); values.push(value); return names[names.length - 1]; };
    tests.push(`if(o[${typeof key === 'string' ? jsonStringify(key) : constant(key)}]!==${constant(d.value)})return false;`);
  });
  return [new BuiltIn(...names, `'use strict';return ()=>{${tests.join('')}return true;}`)(...values)];
}

function undo(entry) {
  const object = entry[0], prototype = entry[1], keys = entry[2], descriptors = entry[3];
  if (!isExtensible(object)) return false;
  if (getPrototypeOf(object) !== prototype && !setPrototypeOf(object, prototype)) return false;
  const now = ownKeys(object);
  for (let i = 0; i < now.length; i++) {
    let known = false;
    for (let j = 0; j < keys.length && !known; j++) known = keys[j] === now[i];
    if (!known && !deleteProperty(object, now[i])) return false;
  }
  for (let i = 0; i < keys.length; i++) {
    const was = descriptors[i], is = getOwnPropertyDescriptor(object, keys[i]);
    if (is === undefined || is.value !== was.value || is.get !== was.get || is.set !== was.set || is.writable !== was.writable
        || is.enumerable !== was.enumerable || is.configurable !== was.configurable) {
      if (!defineProperty(object, keys[i], was)) return false;
    }
  }
  return true;
}

function strange(entry) {
  return ownKeys(entry[0]).length !== entry[2].length;
}

/** Put everything back that earlier calls have changed. Returns false if that cannot be done. */
function restore() {
  apply(regexpExec, EMPTY, ['']);               // RegExp.$1 and its like
  const added = keysOf(global);
  for (let i = 0; i < added.length; i++) if (!deleteProperty(global, added[i])) dirty = true;
  if (symbols) {
    symbols = false;
    symbolGlobal = SymbolType;
    for (let i = 0; i < watched.length && !dirty; i++) dirty = strange(watched[i]);
    dirty = dirty || strange(globals);
  }
  if (!dirty && unchanged()) return true;
  dirty = false;
  for (let i = 0; i < watched.length; i++) if (!undo(watched[i])) return false;
  return undo(globals);
}
