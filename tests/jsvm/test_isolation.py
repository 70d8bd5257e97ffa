"""Nothing that one call leaves behind is seen by another (tyk-jsvm 14.10)."""

from __future__ import annotations

import pytest

from tests.support.jsvm import Vm, script, text_of

# (risk, what is looked at before it is changed, the change, what every call must see). Expressions and statements of a handler.
STATE = [
    ("implicit_global", "typeof leak", "leak = 1", "undefined"),
    ("property_of_this", "typeof this.leak", "this.leak = 1", "undefined"),
    ("property_of_global", "typeof globalThis.leak", "globalThis.leak = 1", "undefined"),
    ("global_by_indirect_eval", "typeof leak", "(0, eval)('var leak = 1')", "undefined"),
    ("global_by_function_constructor", "typeof leak", "Function('leak = 1')()", "undefined"),
    ("hidden_global", "typeof leak", "Object.defineProperty(globalThis, 'leak', {value: 1})", "undefined"),
    ("hidden_visible_global", "typeof leak", "Object.defineProperty(this, 'leak', {value: 1, enumerable: true})", "undefined"),
    ("several_hidden_globals", "typeof leak", "Object.defineProperties(globalThis, {leak: {value: 1}})", "undefined"),
    ("accessor_global", "typeof leak", "globalThis.__defineGetter__('leak', function () { return 1; })", "undefined"),
    ("symbol_on_global", "typeof this[Symbol.for('leak')]", "this[Symbol.for('leak')] = 1", "undefined"),
    ("prototype_of_global", "typeof leak", "Object.setPrototypeOf(this, {__proto__: this.__proto__, leak: 1})", "undefined"),
    ("prototype_of_global_by_name", "typeof leak", "this.__proto__ = {leak: 1}", "undefined"),
    ("deleted_global", "typeof Map", "delete globalThis.Map", "function"),
    ("deleted_underscore", "typeof _", "delete globalThis._; _ = 1", "function"),
    ("deleted_symbol", "typeof Symbol", "delete globalThis.Symbol; Symbol = 1", "function"),
    ("replaced_json", "JSON.stringify({})", "JSON = {stringify: function () { return 1; }}", "{}"),
    ("replaced_json_method", "JSON.stringify({})", "JSON.stringify = function () { return 1; }", "{}"),
    ("replaced_log", "log.length", "log = function (a, b, c) {}", "1"),
    ("replaced_console", "typeof console.log", "console = 1", "function"),
    ("changed_console", "typeof console.log", "console.log = 1", "function"),
    ("replaced_tykjs", "typeof TykJS.TykMiddleware", "TykJS = {}", "object"),
    ("changed_tykjs", "typeof TykJS.leak", "TykJS['leak'] = 1", "undefined"),
    ("changed_tyk_middleware", "typeof M().leak", "var t = TykJS; t.TykMiddleware.NewMiddleware.prototype.leak = 1", "undefined"),
    ("random", "Math.random() < 2", "Math.random = function () { return 9; }", "true"),
    ("date_now", "Date.now() > 9", "Date.now = function () { return 9; }", "true"),
    ("prototype_method", "[1].map(String)[0]", "Array.prototype.map = function () { return [2]; }", "1"),
    ("added_prototype_method", "typeof ''.leak", "String.prototype.leak = function () {}", "undefined"),
    ("hidden_prototype_method", "typeof ''.leak", "Object.defineProperty(String.prototype, 'leak', {value: 1})", "undefined"),
    ("polluted_object", "typeof ({}).leak", "({}).__proto__.leak = 1", "undefined"),
    ("polluted_by_constructor", "typeof ({}).leak", "({}).constructor.prototype.leak = 1", "undefined"),
    ("polluted_descriptors", "typeof ({}).get", "Math.x = 1; Object.prototype.get = Object.prototype.set = function () {}", "undefined"),
    ("polluted_descriptor_values", "typeof Math.max",
     "Object.prototype.__defineGetter__.call(Math, 'max', function () {}); Object.prototype.value = Math.min", "function"),
    ("deleted_method", "typeof [].push", "delete Array.prototype.push", "function"),
    ("deleted_same_as_inherited", "TypeError.prototype.hasOwnProperty('message')", "delete TypeError.prototype.message", "true"),
    ("reflect_set", "typeof Math.leak", "Reflect.set({}, 'leak', 1, Math)", "undefined"),
    ("reflect_define", "typeof Math.leak", "Reflect.defineProperty(Math, 'leak', {value: 1})", "undefined"),
    ("reflect_delete", "typeof Math.max", "Reflect.deleteProperty(Math, 'max')", "function"),
    ("object_assign", "typeof Math.leak", "Object.assign(Math, {leak: 1})", "undefined"),
    ("assigned_symbols", "Symbol.iterator in Math",
     "var d = Object.getOwnPropertyDescriptors(String.prototype);"
     "Object.getOwnPropertyNames(d).forEach(function (k) { delete d[k]; }); Object.assign(Math, d)", "false"),
    ("symbol_key", "typeof Math[Symbol.for('leak')]", "Math[Symbol.for('leak')] = 1", "undefined"),
    ("hidden_symbol_key", "typeof Math[Symbol.for('leak')]",
     "Object.defineProperty(Math, Symbol.for('leak'), {value: 1})", "undefined"),
    ("symbol_key_behind_an_iterator", "typeof Math[Symbol.for('leak')]",
     "Array.prototype[Symbol.iterator] = function* () {}; Math[Symbol.for('leak')] = 1", "undefined"),
    ("iterator_that_runs_later", "typeof Math.leak",
     "Array.prototype[Symbol.iterator] = function* () { Object.defineProperty(Math, 'leak', {value: 1}); }", "undefined"),
    ("replaced_promise", "typeof Promise.all", "Promise = {}", "function"),
    ("deleted_promise", "typeof Promise", "delete globalThis.Promise; Promise = 1", "function"),
    ("replaced_eval", "eval('1 + 1')", "eval = function () { return 3; }", "2"),
    ("replaced_function", "Function('return 2')()", "Function = Function.prototype.constructor = function () {}", "2"),
    ("well_known_symbol", "typeof Array.prototype[Symbol.toStringTag]", "Array.prototype[Symbol.toStringTag] = 'x'", "undefined"),
    ("replaced_iterator", "[...[1]][0]", "Array.prototype[Symbol.iterator] = function* () { yield 2; }", "1"),
    ("symbol_from_a_proxy", "Symbol.iterator in Math",
     "var s; try { [...new Proxy({}, {get(t, k) { s = s || k; }})]; } catch (e) {} Math[s] = 1", "false"),
    ("property_of_symbol", "typeof Symbol.leak", "Symbol.leak = 1", "undefined"),
    ("symbol_prototype", "typeof Symbol.prototype.leak", "Symbol.prototype.leak = 1", "undefined"),
    ("set_prototype", "typeof Map.leak", "Object.setPrototypeOf(Map, {leak: 1})", "undefined"),
    ("prototype_by_name", "typeof Map.prototype.leak", "Map.prototype.__proto__ = {leak: 1}", "undefined"),
    ("frozen", "Object.isFrozen(Math)", "Object.freeze(Math)", "false"),
    ("sealed", "Object.isSealed(Array.prototype)", "Object.seal(Array.prototype)", "false"),
    ("not_extensible", "Object.isExtensible(Object.prototype)", "Object.preventExtensions(Object.prototype)", "true"),
    ("not_extensible_by_reflect", "Object.isExtensible(JSON)", "Reflect.preventExtensions(JSON)", "true"),
    ("frozen_global", "Object.isFrozen(globalThis)", "Object.freeze(globalThis)", "false"),
    ("read_only", "Object.getOwnPropertyDescriptor(Math, 'max').writable",
     "Object.defineProperty(Math, 'max', {writable: false, configurable: false})", "true"),
    ("defined_through_a_proxy", "typeof Math.leak",
     "Object.defineProperty(new Proxy(Math, {}), 'leak', {value: 1, configurable: true})", "undefined"),
    ("defined_through_a_revocable_proxy", "typeof Math.leak",
     "Object.defineProperty(Proxy.revocable(Math, {}).proxy, 'leak', {value: 1, configurable: true})", "undefined"),
    ("getter_on_built_in", "typeof Math.leak", "Math.__defineGetter__('leak', function () { return 1; })", "undefined"),
    ("setter_on_built_in", "Math.__lookupSetter__('leak') === undefined", "Math.__defineSetter__('leak', function () {})", "true"),
    ("property_of_function", "typeof parseInt.leak", "parseInt.leak = 1", "undefined"),
    ("property_of_method", "typeof [].map.leak", "[].map.leak = 1", "undefined"),
    ("property_of_native", "typeof b64enc.leak", "b64enc.leak = 1", "undefined"),
    ("property_of_tykjs_method", "typeof M().DoProcessRequest.leak", "M().DoProcessRequest.leak = 1", "undefined"),
    ("property_of_accessor", "typeof G(Map.prototype, 'size').leak", "G(Map.prototype, 'size').leak = 1", "undefined"),
    ("property_of_global_accessor", "typeof G(this, '_').leak", "G(this, '_').leak = 1", "undefined"),
    ("stack_accessor", "typeof G(new Error(), 'stack').leak", "G(new Error(), 'stack').leak = 1", "undefined"),
    ("throw_type_error", "typeof G(S(), 'callee').leak", "G(S(), 'callee').leak = 1", "undefined"),
    ("call_sites", "typeof P(C()).leak", "P(C()).leak = 1", "undefined"),
    ("call_site_methods", "typeof C().getThis.leak", "C().getThis.leak = 1", "undefined"),
    ("stack_on_built_in", "Math.hasOwnProperty('stack')", "Error.captureStackTrace(Math)", "false"),
    ("stack_trace_limit", "Error.stackTraceLimit", "Error.stackTraceLimit = 0", "10"),
    ("prepare_stack_trace", "typeof Error.prepareStackTrace", "Error.prepareStackTrace = function () { return 1; }", "undefined"),
    ("regexp_match", "RegExp.$1 + RegExp.lastMatch + RegExp.input + RegExp.rightContext", "/(l)ea/.exec('leak')", ""),
    ("regexp_input", "RegExp.input", "RegExp.input = 'leak'", ""),
    ("underscore_mixin", "typeof _.leak", "_.mixin({leak: function () {}})", "undefined"),
    ("underscore_id", "_.uniqueId()", "_.uniqueId()", "1"),
    ("underscore_replaced", "typeof _.map", "_ = {}", "function"),
    ("promise_then", "typeof Promise.prototype.then.leak + Promise.prototype.then.length",
     "Promise.prototype.then = function () {}", "undefined2"),
    ("intl", "typeof Intl.leak", "Intl.leak = 1", "undefined"),
    ("intl_prototype", "typeof Intl.NumberFormat.prototype.leak", "Intl.NumberFormat.prototype.leak = 1", "undefined"),
    ("intl_segments", "typeof P(new Intl.Segmenter('en').segment('a')).leak",
     "P(new Intl.Segmenter('en').segment('a')).leak = 1", "undefined"),
    ("intl_segment_iterator", "typeof P(new Intl.Segmenter('en').segment('a')[Symbol.iterator]()).leak",
     "P(new Intl.Segmenter('en').segment('a')[Symbol.iterator]()).leak = 1", "undefined"),
    ("temporal", "typeof Temporal.leak + typeof Temporal.PlainDate.prototype.leak",
     "Temporal.leak = Temporal.PlainDate.prototype.leak = 1", "undefinedundefined"),
    ("array_iterator", "typeof P([][Symbol.iterator]()).leak", "P([][Symbol.iterator]()).leak = 1", "undefined"),
    ("iterator_helper", "typeof P([].values().map(String)).leak", "P([].values().map(String)).leak = 1", "undefined"),
    ("iterator_wrapper", "typeof P(Iterator.from({next() {}})).leak", "P(Iterator.from({next() {}})).leak = 1", "undefined"),
    ("iterator_prototype", "typeof Iterator.prototype.leak", "Iterator.prototype.leak = 1", "undefined"),
    ("regexp_iterator", "typeof P('a'.matchAll(/a/g)).leak", "P('a'.matchAll(/a/g)).leak = 1", "undefined"),
    ("generator", "typeof (function* () {})().leak", "P(P(P((function* () {})()))).leak = 1", "undefined"),
    ("generator_function", "typeof (function* () {}).leak", "P(function* () {}).leak = 1", "undefined"),
    ("async_function", "typeof (async function () {}).leak", "P(async function () {}).leak = 1", "undefined"),
    ("async_generator", "typeof (async function* () {})().leak", "P(P(P((async function* () {})()))).leak = 1", "undefined"),
    ("typed_array", "typeof new Uint8Array(1).leak", "Uint8Array.prototype.leak = 1", "undefined"),
    ("all_typed_arrays", "typeof new Float64Array(1).leak", "P(Uint8Array).prototype.leak = 1", "undefined"),
    ("array_buffer", "typeof new ArrayBuffer(1).leak", "ArrayBuffer.prototype.leak = 1", "undefined"),
    ("bigint_prototype", "typeof 1n.leak", "BigInt.prototype.leak = 1", "undefined"),
    ("template_object", "typeof T().leak", "try { T().leak = 1; } catch (e) {}", "undefined"),
    ("template_raw", "typeof T().raw.leak", "try { T().raw.leak = 1; } catch (e) {}", "undefined"),
    ("literal_objects", "K.a.b + K.c.length", "K.a.b++; K.c.push(1)", "1"),
    ("literal_regexp", "R.lastIndex", "R.test('aa')", "0"),
    ("class_statics", "Q.n", "Q.n++", "0"),
    ("private_on_built_in", "Q.has(Math)", "new Q(Math)", "false"),
    ("closure", "counter()", "counter()", "0"),
    ("microtask", "typeof leak", "Promise.resolve().then(function () { leak = 1; Math.leak = 1; })", "undefined"),
    ("endless_promise", "typeof leak", "(async function () { await TykFetch('x'); leak = 1; })()", "undefined"),
    ("callee", "typeof program.leak", "program.leak = 1", "undefined"),
    ("prototype_of_callee", "typeof program.prototype.leak", "program.prototype.leak = 1", "undefined"),
    ("caller", "typeof topCaller.leak", "topCaller.leak = 1", "undefined"),
    ("inner_natives", "typeof $natives.leak + typeof $natives.makeCore.prototype.leak",
     "$natives.leak = 1; $natives.makeCore.prototype.leak = 1", "undefinedundefined"),
    ("inner_functions", "typeof $at.leak + typeof $failed.leak + typeof require.leak + typeof $require(0).leak",
     "$at.leak = $failed.leak = require.leak = $require.leak = $require(0).leak = 1", "undefined" * 4),
    ("replaced_inner_names", "typeof $natives + typeof $at", "$natives = $at = $failed = $require = 1", "objectfunction"),
]  # fmt: skip
TOOLS = """
var program = arguments.callee;
var K = {a: {b: 1}, c: []}, R = /a/g, counter = (function () { var n = 0; return function () { return n++; }; })();
function P(o) { return Object.getPrototypeOf(o); }
function G(o, name) { return Object.getOwnPropertyDescriptor(o, name).get; }
function S() { return (function () { 'use strict'; return arguments; })(); }
function M() { return new TykJS.TykMiddleware.NewMiddleware({}); }
function T() { return (function (t) { return t; })`x`; }
var topCaller = (function f() { return f.caller; })();
function C() {
  var was = Error.prepareStackTrace;
  Error.prepareStackTrace = function (e, sites) { return sites; };
  var sites = new Error('').stack;
  Error.prepareStackTrace = was;
  if (was === undefined) delete Error.prepareStackTrace;
  return sites[0];
}
class Base { constructor(o) { return o; } }
class Q extends Base { #p = 1; static n = 0; static has(o) { return #p in o; } }
"""


def _source(look: str, change: str) -> str:
    return f"{TOOLS}function h() {{ var seen = String({look}); {change}; return seen; }}"


@pytest.mark.parametrize(("look", "change", "clean"), [case[1:] for case in STATE], ids=[case[0] for case in STATE])
def test_a_call_sees_nothing_of_earlier_ones(vm: Vm, look: str, change: str, clean: str) -> None:
    replaced = vm.pool.stats()["replaced"]
    one = vm.hook(_source(look, change), api="one")
    other = vm.hook(script(_source(look, change), "// another program"), api="other")
    results = vm.all([(one, 1), (other, 2), (one, 3), (one, 4), (other, 5)])
    assert [text_of(result) for result in results] == [clean] * 5
    assert vm.pool.stats()["replaced"] == replaced, "putting it back must not cost a context"
