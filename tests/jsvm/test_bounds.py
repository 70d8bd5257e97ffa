"""Built-ins that are asked for very much at once throw: they neither end the process nor go on for hours."""

from __future__ import annotations

import pytest

from tests.support.jsvm import Vm

HUGE = {
    "fill": "new Array(2**32 - 1).fill(0)",
    "fill_like": "[].fill.call({length: 2**53 - 1}, 0)",
    "sort": "new Array(2**32 - 1).sort()",
    "for_each": "new Array(2**32 - 1).forEach(function () {})",
    "map_like": "[].map.call({length: 2**32 - 1}, String)",
    "reduce_like": "[].reduce.call({length: 2**53 - 1}, String, 0)",
    "join": "new Array(2**32 - 1).join('x')",
    "join_like": "[].join.call({length: 2**53 - 1})",
    "to_string": "String(new Array(2**32 - 1))",
    "find_last": "[].findLast.call({length: 2**53 - 1}, function () {})",
    "includes": "[].includes.call({length: 2**53 - 1}, 1)",
    "shift": "[].shift.call({length: 2**53 - 1})",
    "last_index_of_text": "[].lastIndexOf.call('x'.repeat(2**25), 'y')",
    "holes": "new Array(2**23).concat(1)",
    "with": "[].with.call({length: 2**32 - 1}, 0, 1)",
    "from": "Array.from({length: 2**32})",
    "apply": "Math.max.apply(null, {length: 2**27})",
    "reflect_apply": "Reflect.apply(Math.max, null, {length: 2**27})",
    "reflect_construct": "Reflect.construct(Array, {length: 2**27})",
    "length_that_grows": "(function (n) { return [].fill.call({get length() { return n++ ? 2**53 - 1 : 1e9; }}, 0); })(0)",
    "length_of_a_proxy": "[].fill.call(new Proxy([], {get: (t, k) => k === 'length' ? 2**53 - 1 : t[k]}), 0)",
    "repeat": "'x'.repeat(2**29 - 25)",
    "repeat_of_an_object": "''.repeat.call({toString() { return 'x'.repeat(1e6); }}, 1e3)",
    "pad": "'x'.padStart(2**29 - 25).padEnd(2**29 - 24)",
    "replace_all": "'x'.repeat(2**24 + 1).replaceAll('x', 'yy')",
    "normalize": "'\\ufdfa'.repeat(2**24 + 1).normalize('NFKD')",
    "normalize_of_an_object": "''.normalize.call({toString() { return 'x'.repeat(2**24 + 1); }}, 'NFKD')",
    "buffer": "new ArrayBuffer(2**33)",
    "resizable_buffer": "new ArrayBuffer(8, {maxByteLength: 2**40})",
    "transfer": "new ArrayBuffer(8).transfer(2**33)",
    "typed_array": "new Uint8Array(2**32)",
    "doubles": "new Float64Array(2**27)",
    "typed_array_from": "Uint8Array.from({length: 2**32})",
    "typed_array_like": "new Uint8Array({length: 2**32})",
    "typed_array_set": "new Uint8Array(8).set({length: 2**53 - 1})",
    "raw_text": "String.raw({raw: {length: 2**53 - 1}})",
    "names_of_a_text": "Object.getOwnPropertyNames('x'.repeat(2**26))",
    "entries_of_a_text": "Object.entries(new String('x'.repeat(2**26)))",
    "assigned_text": "Object.assign({}, 'x'.repeat(2**26))",
    "subclass": "new (class extends Uint8Array {})(2**32)",
}


@pytest.mark.parametrize("code", HUGE.values(), ids=HUGE)
def test_too_much_at_once_is_a_range_error(vm: Vm, code: str) -> None:
    source = f"function h() {{ try {{ {code}; return 'done'; }} catch (e) {{ return e.name; }} }}"
    assert vm.text(source) == "RangeError"


STEADY = {
    "length_that_shrinks_to_nothing": ("(function (n) { return [].indexOf.call({get length() { return n++ ? 2**53 - 1 : 3; }}, 1); })(0)", "-1"),
    "proxy": ("(function (n) { return [].includes.call(new Proxy([], {get: (t, k) => k === 'length' ? (n++ ? 2**53 - 1 : 3) : t[k]}), 1); })(0)",
              "false"),
    "length_with_value_of": ("(function (n) { return [].indexOf.call({length: {valueOf() { return n++ ? 2**53 - 1 : 3; }}}, 1); })(0)", "-1"),
    "repeat_count": ("(function (n) { return 'x'.repeat({valueOf() { return n++ ? 2**28 : 3; }}); })(0)", "xxx"),
    "array_length": ("(function (n) { return new Uint8Array({valueOf() { return n++ ? 2**32 : 3; }}).length; })(0)", "0"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "expected"), STEADY.values(), ids=STEADY)
def test_lengths_are_read_once(vm: Vm, code: str, expected: str) -> None:
    assert vm.text(f"function h() {{ return String({code}); }}") == expected


SAME = {
    "array_likes": ("[].map.call({length: 2, 0: 1, 1: 2}, (x) => x * 2).join()", "2,4"),
    "strings": ("[].map.call('ab', (x) => x + x).join()", "aa,bb"),
    "chained": ("(function () { var a = [3, 1, 2]; return a.sort() === a && a.reverse() === a && a.fill(0) === a; })()", "true"),
    "proxies": ("(function () { var p = new Proxy([3, 1], {}); return (p.sort() === p) + p.join() + p.map(String).length; })()", "true1,32"),
    "proxy_changes": ("(function () { var t = [1], p = new Proxy(t, {}); p.push(2); p.splice(0, 1); return t.join() + p.length; })()", "21"),
    "arguments": ("(function () { return Array.prototype.slice.call(arguments, 1).join(); })(1, 2, 3)", "2,3"),
    "apply_arguments": ("(function () { return Math.max.apply(null, arguments); })(1, 5, 3)", "5"),
    "apply_nothing": ("(function () { return arguments.length; }).apply() + [].concat.apply([], [[1], [2]]).length", "2"),
    "typed_arrays": ("[new Uint8Array([1, 2]).length, new Uint16Array(new Uint8Array([7]).buffer, 0, 0).length, Uint8Array.of(1)[0],"
                     " Uint8Array.from('12')[1], new Uint8Array().length, new Float64Array(new Set([1.5]))[0]].join()", "2,0,1,2,0,1.5"),
    "typed_array_kinds": ("[new Uint8Array(1).constructor === Uint8Array, new Uint8Array(2).slice(1) instanceof Uint8Array,"
                          " Object.getPrototypeOf(Uint8Array).name, Uint8Array.BYTES_PER_ELEMENT, Uint8Array.name].join()",
                          "true,true,TypedArray,1,Uint8Array"),
    "subclasses": ("(function () { class B extends Uint8Array { sum() { return this.reduce((a, b) => a + b); } }"
                   " return new B([1, 2]).sum() + new B([3, 4]).subarray(1).sum(); })()", "7"),
    "buffers": ("new ArrayBuffer(8, {maxByteLength: 16}).maxByteLength + new ArrayBuffer(8).transfer(4).byteLength", "20"),
    "raw": ("String.raw`a\\n${1}b` + String.raw({raw: 'xyz'}, 0, 1)", "a\\n1bx0y1z"),
    "replace_all": ("['aXbX'.replaceAll('X', (x) => x + x), ''.replaceAll.call({toString: () => 'a.b'}, '.', '$&$&'), 'a1b2'.replaceAll(/[0-9]/g, '')]"
                    ".join()", "aXXbXX,a..b,ab"),
    "normalize": ("['\\u0065\\u0301'.normalize().length, ''.normalize('NFC'), ''.normalize.length, ''.replaceAll.length].join()", "1,,0,2"),
    "null_texts": ("['normalize', 'replaceAll'].map((name) => { try { ''[name].call(null, 'a', 'b'); } catch (e) { return e.name; } }).join()",
                   "TypeError,TypeError"),
    "object_functions": ("[Object.keys('ab').length, Object.entries({a: 1})[0], Object.assign({}, {b: 2}).b, Object.values.name].join()",
                         "2,a,1,2,values"),
    "names": ("[[].map.name, [].map.length, ''.repeat.name, Math.max.apply.name, Uint8Array.length].join()", "map,1,repeat,apply,3"),
    "null_receivers": ("(function () { try { [].map.call(null, String); } catch (e) { return e.name; } })()", "TypeError"),
    "proxy_constructor": ("[typeof Proxy, Proxy.length, Proxy.name, Proxy.prototype, (() => { try { Proxy({}, {}); } catch (e) { return e.name; } })()]"
                          ".join()", "function,2,Proxy,,TypeError"),
}  # fmt: skip


@pytest.mark.parametrize(("code", "expected"), SAME.values(), ids=SAME)
def test_what_is_within_bounds_works_as_ever(vm: Vm, code: str, expected: str) -> None:
    assert vm.text(f"function h() {{ return String({code}); }}") == expected
