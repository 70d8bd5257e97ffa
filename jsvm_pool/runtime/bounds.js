// Bounds on built-ins: some, asked for very much at once, end the process instead of throwing, or go on for hours without
// looking whether the script is to be ended.
const MOST_LENGTH = 1 << 22, MOST_TEXT = 1 << 26, MOST_BYTES = 1 << 27, MOST_ARGUMENTS = 1 << 16;
const isArray = Array.isArray;
const proxies = new WeakSet();      // all that scripts have made
let proxied = false;                // the call has made one
const addProxy = WeakSet.prototype.add;
const lengthOfTyped = getOwnPropertyDescriptor(getPrototypeOf(Bytes).prototype, 'length').get;

function tooLong() {
  throw new WrongRange('Invalid array length');
}

function isPrimitive(value) {
  return value === null || typeof value !== 'object' && typeof value !== 'function';
}

/** Whether reading an object's length twice gives the same. */
function steady(object) {
  for (let o = object; o !== null; o = getPrototypeOf(o)) {
    if (proxied && apply(setHas, proxies, [o])) return false;
    const d = getOwnPropertyDescriptor(o, 'length');
    if (d !== undefined) return hasOwn(d, 'value') ? isPrimitive(d.value) : d.get === lengthOfTyped;
  }
  return true;
}

/** An object that is like an array of at most so many elements, and stays so: the same, or one that stands for it. */
function short(object, most) {
  if (isArray(object) && !proxied) return object.length <= most ? object : tooLong();
  if (isPrimitive(object)) {
    return typeof object === 'string' && object.length > most ? tooLong() : object;
  }
  const length = +object.length;
  if (length > most) tooLong();
  if (steady(object)) return object;
  return new ProxyType(object, {__proto__: null, get: (target, key) => key === 'length' ? length : target[key]});
}

for (const name of ['concat', 'copyWithin', 'every', 'fill', 'filter', 'find', 'findIndex', 'findLast', 'findLastIndex', 'flat', 'flatMap',
  'forEach', 'includes', 'indexOf', 'join', 'lastIndexOf', 'map', 'reduce', 'reduceRight', 'reverse', 'shift', 'slice', 'some', 'sort',
  'splice', 'toLocaleString', 'toReversed', 'toSorted', 'toSpliced', 'unshift', 'with']) {
  replace(Array.prototype, name, (inner) => ({
    [name](...args) {
      const self = short(this, MOST_LENGTH), result = apply(inner, self, args);
      return result === self ? this : result;
    },
  })[name]);
}
/** Bound array-likes that are an argument. at: its index; most: of its elements. */
function boundArgument(holder, name, at, most) {
  replace(holder, name, (inner) => ({
    [name](...args) {
      if (args.length > at) args[at] = short(args[at], most);
      return apply(inner, this, args);
    },
  })[name]);
}
boundArgument(Array, 'from', 0, MOST_LENGTH);
boundArgument(Array, 'fromAsync', 0, MOST_LENGTH);
boundArgument(Function.prototype, 'apply', 1, MOST_ARGUMENTS);
boundArgument(Reflect, 'apply', 2, MOST_ARGUMENTS);
boundArgument(Reflect, 'construct', 1, MOST_ARGUMENTS);

// Texts have a property for each character.
const MOST_CHARACTERS = 1 << 20;
for (const name of ['keys', 'values', 'entries', 'getOwnPropertyNames', 'getOwnPropertyDescriptors', 'assign', 'defineProperties', 'groupBy']) {
  replace(Object, name, (inner) => (...args) => {
    for (let i = 0; i < args.length; i++) {
      const value = args[i];
      if ((typeof value === 'string' || value instanceof text) && value.length > MOST_CHARACTERS) tooLong();
    }
    return apply(inner, null, args);
  });
}

// Text: as much as fits into the memory of a context many times over, but not what fills that of the machine.
replace(String.prototype, 'repeat', (inner) => ({
  repeat(count) {
    const self = text(this), times = +count;
    if (times * self.length > MOST_TEXT) tooLong();
    return apply(inner, self, [times]);
  },
}).repeat);
for (const name of ['padStart', 'padEnd']) {
  replace(String.prototype, name, (inner) => ({
    [name](length, filler) {
      const most = +length;
      if (most > MOST_TEXT) tooLong();
      return apply(inner, this, [most, filler]);
    },
  })[name]);
}
// These make much more of a text, and do not look whether they are to end.
const MOST_SOURCE = 1 << 24;
for (const name of ['normalize', 'replaceAll']) {
  replace(String.prototype, name, (inner) => ({
    [name](...args) {
      const self = this === null || this === undefined ? this : text(this);
      if (self && self.length > MOST_SOURCE) throw new WrongRange('Invalid string length');
      return apply(inner, self, args);
    },
  })[name]);
}

// Bytes, which are not on the heap that the memory limit is about.
/** Put a constructor in place of a built-in one. check: (arguments) => those that the built-in one gets. */
function replaceConstructor(name, check) {
  const inner = global[name];
  const outer = function (...args) {
    if (new.target === undefined) throw new WrongType(`Constructor ${name} requires 'new'`);
    return construct(inner, check(args), new.target === outer ? inner : new.target);
  };
  setPrototypeOf(outer, getPrototypeOf(inner));
  for (const key of ownKeys(inner)) defineProperty(outer, key, getOwnPropertyDescriptor(inner, key));
  defineProperty(inner.prototype, 'constructor', {value: outer});
  defineProperty(global, name, {value: outer});
}
function fewBytes(count) {
  const n = +count;
  if (n > MOST_BYTES) throw new WrongRange('Array buffer allocation failed');
  return n;
}
for (const name of ['Int8Array', 'Uint8Array', 'Uint8ClampedArray', 'Int16Array', 'Uint16Array', 'Float16Array', 'Int32Array',
  'Uint32Array', 'Float32Array', 'Float64Array', 'BigInt64Array', 'BigUint64Array']) {
  const most = MOST_BYTES / global[name].BYTES_PER_ELEMENT;
  replaceConstructor(name, (args) => {
    if (args.length === 0) return args;
    if (isPrimitive(args[0])) {
      const n = args[0] === undefined ? 0 : +args[0];
      if (n > most) throw new WrongRange('Invalid typed array length');
      args[0] = n;
    } else args[0] = short(args[0], most);
    return args;
  });
}
replaceConstructor('ArrayBuffer', (args) => {
  const length = fewBytes(args[0]), options = args[1];
  if (isPrimitive(options)) return [length];
  const most = options.maxByteLength;
  return most === undefined ? [length] : [length, {__proto__: null, maxByteLength: fewBytes(most)}];
});
for (const name of ['transfer', 'transferToFixedLength']) {
  replace(ArrayBuffer.prototype, name, (inner) => ({
    [name](length) { return length === undefined ? apply(inner, this, []) : apply(inner, this, [fewBytes(length)]); },
  })[name]);
}
const TypedArray = getPrototypeOf(Bytes);
boundArgument(TypedArray, 'from', 0, MOST_LENGTH);
boundArgument(TypedArray.prototype, 'set', 0, MOST_LENGTH);
replace(String, 'raw', (inner) => (strings, ...values) => {
  const raw = strings === null || strings === undefined ? undefined : strings.raw;
  return apply(inner, text, [raw === undefined ? strings : {raw: short(raw, MOST_LENGTH)}, ...values]);
});
