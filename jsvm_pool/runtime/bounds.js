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

