// Calls to the host. Text crosses in the mailbox, memory that both sides see: UTF-16 code units behind a few words.
const W_OP = 0, W_UNITS = 1, W_STARTED = 2, W_SKIP = 3, W_MORE = 4, W_RUNS = 5, W_STATUS = 6, W_DONE = 8;
const OP_LOG = 1, OP_CALL = 2, OP_ASYNC = 3, OP_RESULT = 4, OP_NEXT = 5;
const S_UNDEFINED = 0, S_TEXT = 1, S_THROW = 2;
// Behind it are the results of calls, in two halves for two batches: text of ASCII or UTF-16, each behind its length and kind.
const MAIL_HEAD = 64, MAIL_UNITS = 32768, HALF_BYTES = 32768, RECORD_HEAD = 8;
let words = null, units = null, bell = null, octets = null, wide = null, heads = null;
let logLimit = 65536, logged = 0, quiet = false;
const LOG_MESSAGE = 64;     // that a message counts for besides its length
const MOST_MESSAGE = 1 << 24, MOST_FETCHES = 256;
let fetches = 0;
let current = 0;            // call that is under way, 0 for none: what comes later from another one is ignored
let loading = false;        // a program is being loaded
let silent = false;         // what runs is left over from an asynchronous call that has ended
const pendingFetches = new Map();
const mapGet = Map.prototype.get, mapSet = Map.prototype.set, mapDelete = Map.prototype.delete, mapClear = Map.prototype.clear;

function post(op, message) {
  const most = units.length, n = message.length;
  let at = 0;
  do {
    const piece = n - at < most ? n - at : most;
    for (let i = 0; i < piece; i++) units[i] = apply(charCodeAt, message, [at + i]);
    at += piece;
    words[W_OP] = op;
    words[W_UNITS] = piece;
    words[W_MORE] = at < n ? 1 : 0;
    bell();
  } while (at < n);
}

function received() {
  let out = '';
  for (;;) {
    const n = words[W_UNITS], more = words[W_MORE];
    for (let i = 0; i < n; i += 4096) {
      out += apply(fromCharCode, null, apply(unitsSubarray, units, [i, i + 4096 < n ? i + 4096 : n]));
    }
    if (!more) return out;
    words[W_OP] = OP_NEXT;
    bell();
  }
}

/** Texts as a JSON array. That of an array would call what scripts put on prototypes: toJSON. */
function quoted(parts) {
  let out = '[';
  for (let i = 0; i < parts.length; i++) {
    if (parts[i].length > MOST_MESSAGE) throw new WrongRange('too much text for a function of the gateway');
    out += (i ? ',' : '') + jsonStringify(parts[i]);
  }
  return out + ']';
}

/** Ask the host and wait. parts: texts. Returns a text or undefined; throws what the host says is to be thrown. */
function ask(parts) {
  if (current === 0 && !loading) return undefined;
  post(OP_CALL, quoted(parts));
  const status = words[W_STATUS];
  if (status === S_UNDEFINED) return undefined;
  const answer = received();
  if (status === S_THROW) throw new Failure(answer);
  return answer;
}

function askLater(parts) {
  if (pendingFetches.size >= MOST_FETCHES) throw new Failure('too many requests at one time');
  const message = quoted(parts);
  const id = ++fetches;
  return new PromiseType((resolve, reject) => {
    apply(mapSet, pendingFetches, [id, [resolve, reject]]);
    if (current !== 0) post(OP_ASYNC, `[${id},${current},${message}]`);
  });
}

/** The host's answer to askLater: this is [id, call, status, text] as JSON. */
function deliver() {
  const answer = jsonParse(this);
  const id = answer[0], waiting = apply(mapGet, pendingFetches, [id]);
  if (waiting === undefined || current === 0 || answer[1] !== current) return '';
  apply(mapDelete, pendingFetches, [id]);
  if (answer[2] === S_THROW) waiting[1](new Failure(answer[3]));
  else waiting[0](answer[2] === S_TEXT ? answer[3] : undefined);
  return '';
}

function say(level, message) {
  if (quiet || silent || logged > logLimit) return;
  logged += message.length + LOG_MESSAGE;
  if (logged > logLimit) post(OP_LOG, 'cut\nlog output of this call is cut: preforge.jsvm.max_log_bytes');
  else post(OP_LOG, level + '\n' + message);
}

// -- bytes and text ------------------------------------------------------------------------------------------
// A text holds bytes that are not UTF-8 as U+DC80 to U+DCFF, one for each byte (tyk-jsvm 14.1).

function encode(s) {
  const n = s.length;
  let size = 0;
  for (let i = 0; i < n; i++) {
    const c = apply(charCodeAt, s, [i]);
    size += c < 0x80 ? 1 : c < 0x800 ? 2 : 3;
  }
  const out = new Bytes(size);
  let at = 0;
  for (let i = 0; i < n; i++) {
    let c = apply(charCodeAt, s, [i]);
    if (c < 0x80) { out[at++] = c; continue; }
    if (c < 0x800) { out[at++] = 0xc0 | c >> 6; out[at++] = 0x80 | c & 63; continue; }
    if (c >= 0xd800 && c < 0xdc00 && i + 1 < n) {
      const d = apply(charCodeAt, s, [i + 1]);
      if (d >= 0xdc00 && d < 0xe000) {
        i++;
        c = 0x10000 + ((c & 0x3ff) << 10) + (d & 0x3ff);
        out[at++] = 0xf0 | c >> 18; out[at++] = 0x80 | c >> 12 & 63; out[at++] = 0x80 | c >> 6 & 63; out[at++] = 0x80 | c & 63;
        continue;
      }
    }
    if (c >= 0xdc80 && c < 0xdd00) { out[at++] = c & 0xff; continue; }
    if (c >= 0xd800 && c < 0xe000) c = 0xfffd;
    out[at++] = 0xe0 | c >> 12; out[at++] = 0x80 | c >> 6 & 63; out[at++] = 0x80 | c & 63;
  }
  return at === size ? out : apply(subarray, out, [0, at]);
}

function decode(bytes) {
  const n = bytes.length, out = new Units(n);
  let at = 0;
  for (let i = 0; i < n;) {
    const c = bytes[i];
    if (c < 0x80) { out[at++] = c; i++; continue; }
    const more = c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 0;
    let value = more === 1 ? c & 31 : more === 2 ? c & 15 : c & 7, good = more > 0 && i + more < n;
    for (let k = 1; good && k <= more; k++) {
      const d = bytes[i + k];
      good = (d & 0xc0) === 0x80;
      value = value << 6 | d & 63;
    }
    if (good && (more === 2 && (value < 0x800 || value >= 0xd800 && value < 0xe000) || more === 3 && (value < 0x10000 || value > 0x10ffff))) {
      good = false;
    }
    if (!good) { out[at++] = 0xdc00 | c; i++; continue; }
    if (value >= 0x10000) { value -= 0x10000; out[at++] = 0xd800 | value >> 10; out[at++] = 0xdc00 | value & 0x3ff; }
    else out[at++] = value;
    i += more + 1;
  }
  let s = '';
  for (let i = 0; i < at; i += 4096) s += apply(fromCharCode, null, apply(unitsSubarray, out, [i, i + 4096 < at ? i + 4096 : at]));
  return s;
}

const PADDED = {alphabet: 'base64'}, UNPADDED = {alphabet: 'base64', omitPadding: true};
const STRANGE = /[ \t\f]/, PAD = /=/;

function toBase64(s, unpadded) {
  return apply(bytesToBase64, encode(s), [unpadded ? UNPADDED : PADDED]);
}

function fromBase64(s, unpadded) {
  try {
    if (apply(regexpExec, STRANGE, [s]) !== null || unpadded && apply(regexpExec, PAD, [s]) !== null) throw null;
    return decode(bytesFromBase64(s, PADDED));
  } catch {
    say('error', 'Failed to base64 decode');
    return undefined;
  }
}
