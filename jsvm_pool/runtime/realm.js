// What the runtime uses of the language, taken before any script runs: scripts may change everything else.
const global = globalThis;
const {apply, construct, defineProperty, deleteProperty, getOwnPropertyDescriptor, getPrototypeOf, setPrototypeOf, ownKeys} = Reflect;
const isExtensible = Object.isExtensible, freeze = Object.freeze, keysOf = Object.keys, create = Object.create, hasOwn = Object.hasOwn;
const symbolsOf = Object.getOwnPropertySymbols, assign = Object.assign, ObjectPrototype = Object.prototype, StringPrototype = String.prototype;
const jsonParse = JSON.parse, jsonStringify = JSON.stringify;
const text = String, fromCharCode = String.fromCharCode, BuiltIn = Function, Failure = Error, WrongType = TypeError;
const WrongRange = RangeError, WrongSyntax = SyntaxError, SymbolType = Symbol, ProxyType = Proxy, ErrorType = Error;
const promiseThen = Promise.prototype.then, promiseResolve = Promise.resolve, PromiseType = Promise;
const charCodeAt = String.prototype.charCodeAt, slice = String.prototype.slice, indexOf = String.prototype.indexOf;
const codeAt = BuiltIn.prototype.call.bind(charCodeAt);      // without the array that apply needs
const lastIndexOf = String.prototype.lastIndexOf, toWellFormed = String.prototype.toWellFormed;
const regexpExec = RegExp.prototype.exec, setHas = WeakSet.prototype.has;
const bytesFromBase64 = Uint8Array.fromBase64, bytesToBase64 = Uint8Array.prototype.toBase64;
const Bytes = Uint8Array, Units = Uint16Array, Words = Int32Array, subarray = Uint8Array.prototype.subarray;
const unitsSubarray = Uint16Array.prototype.subarray;
const store = Atomics.store, load = Atomics.load;
const indirectEval = eval;
const EMPTY = /^/;

// Not for scripts: memory outside of the heap's limit, waiting that no limit sees, and code that runs after its call.
for (const name of ['SharedArrayBuffer', 'Atomics', 'WebAssembly', 'FinalizationRegistry', 'WeakRef']) delete global[name];

/** Put a function in place of a built-in one. make: gets the built-in, returns what scripts see under its name. */
function replace(holder, name, make) {
  const inner = holder[name], outer = make(inner);
  defineProperty(outer, 'name', {value: inner.name, configurable: true});
  defineProperty(outer, 'length', {value: inner.length, configurable: true});
  defineProperty(holder, name, {value: outer, writable: true, configurable: true});
}
