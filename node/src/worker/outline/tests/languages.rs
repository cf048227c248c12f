//! One small source for every grammar, with all that should be found in it.

use super::{outline, symbols};

fn targets(record: &precentor_core::context::ContextRecord) -> Vec<&str> {
    record
        .imports
        .iter()
        .map(|import| &*import.target)
        .collect()
}

fn signature<'r>(
    record: &'r precentor_core::context::ContextRecord,
    name: &str,
) -> (&'r str, &'r str) {
    let symbol = record
        .symbols
        .iter()
        .find(|symbol| symbol.name == name)
        .expect("it is there");
    (&symbol.signature, &symbol.doc)
}

#[test]
fn rust() {
    let source = r#"//! Holds things.
//! More.

use std::{fmt, io::Read};

/// A thing.
#[derive(Debug)]
pub struct Thing {
    a: u8,
}
pub struct Id(pub u64);
enum Kind { A }
impl fmt::Display for Thing {
    /// Shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>)
        -> fmt::Result {
        fn inner() {}
        Ok(())
    }
}
trait Does { const N: u8 = 1; type T; fn go(&self); }
const LIMIT: u8 = 3;
macro_rules! shout { () => {} }
mod tests { fn one() {} }
"#;
    let record = outline("a.rs", source);
    assert_eq!(
        symbols(&record),
        [
            "struct Thing 8-10",
            "struct Id 11-11",
            "enum Kind 12-12",
            "method Thing/fmt 15-19",
            "function Thing::fmt/inner 17-17",
            "trait Does 21-21",
            "constant Does/N 21-21",
            "type Does/T 21-21",
            "method Does/go 21-21",
            "constant LIMIT 22-22",
            "macro shout 23-23",
            "module tests 24-24",
            "function tests/one 24-24",
        ]
    );
    assert_eq!(record.summary, "Holds things. More.");
    assert_eq!(targets(&record), ["std::{fmt, io::Read}"]);
    assert_eq!(
        signature(&record, "Thing"),
        ("pub struct Thing", "A thing.")
    );
    assert_eq!(signature(&record, "Id").0, "pub struct Id(pub u64)");
    assert_eq!(
        signature(&record, "fmt"),
        (
            "fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result",
            "Shows it."
        )
    );
    assert_eq!(signature(&record, "LIMIT").0, "const LIMIT: u8 = 3");
}

#[test]
fn python() {
    let source = r#""""Holds things.

More.
"""
import os.path as p, sys
from . import near
from a.b import c as d, e

__all__ = ["Thing", "_hidden"]
LIMIT = 3

@decorated
class Thing(Base):
    """A thing."""
    if LIMIT:
        async def go(self,
                     x=1):
            def inner(): pass
            return inner
        # after

try:
    def late(): pass
except E:
    class _Odd: pass

if __name__ == "__main__":
    late()
"#;
    let record = outline("a.py", source);
    assert_eq!(
        symbols(&record),
        [
            "constant LIMIT 10-10",
            "class Thing 13-19",
            "method Thing/go 16-19",
            "function Thing.go/inner 18-18",
            "function late 23-23",
            "class _Odd 25-25",
        ]
    );
    assert_eq!(record.summary, "Holds things.");
    assert_eq!(targets(&record), ["os.path", "sys", ".", "a.b"]);
    assert_eq!(record.exports, ["Thing", "_hidden"]);
    assert_eq!(
        signature(&record, "Thing"),
        ("class Thing(Base)", "A thing.")
    );
    assert_eq!(signature(&record, "go").0, "async def go(self, x=1)");
    assert_eq!(
        (&*record.entry_points[0].name, record.entry_points[0].line),
        ("__main__", 27)
    );
    assert!(record.references.iter().any(|it| it.name == "late"));
}

#[test]
fn go() {
    let source = r#"// Package a holds things.
package a

import (
	"fmt"
	m "math/rand"
)

// Thing is a thing.
type Thing struct {
	a int
}

type (
	Doer interface {
		Do(x int) error
	}
	ID = int
)

const Limit = 3

var local = 4

// Do does.
func (t *Thing) Do(x int) error {
	const inner = 1
	fmt.Println(x)
	return nil
}

func New[T any]() *Thing { return nil }
"#;
    let record = outline("a.go", source);
    assert_eq!(
        symbols(&record),
        [
            "struct Thing 10-12",
            "interface Doer 15-17",
            "method Doer/Do 16-16",
            "type ID 18-18",
            "constant Limit 21-21",
            "constant local 23-23",
            "method Thing/Do 26-30",
            "function New 32-32",
        ]
    );
    assert_eq!(record.summary, "Package a holds things.");
    assert_eq!(targets(&record), ["fmt", "math/rand"]);
    assert_eq!(
        signature(&record, "Thing"),
        ("type Thing struct", "Thing is a thing.")
    );
    assert_eq!(signature(&record, "New").0, "func New[T any]() *Thing");
    assert_eq!(record.symbols[6].doc, "Do does.");
}

#[test]
fn javascript() {
    let source = r#"import fs, { join as j } from "path";
const os = require('os');

/** A thing. */
export class Thing extends Base {
  #secret() {}
  static make(x) { return new Thing(x); }
  handler = (e) => { go(e); };
}
export const LIMIT = 3;
// Adds.
const add = (a, b) => a + b;
function plain() { const local = 1; }
function* gen() {}
module.exports.named = function () {};
Thing.prototype.late = function (x) {};
export { add as sum, plain };
"#;
    let record = outline("a.js", source);
    assert_eq!(
        symbols(&record),
        [
            "class Thing 5-9",
            "method Thing/#secret 6-6",
            "method Thing/make 7-7",
            "method Thing/handler 8-8",
            "constant LIMIT 10-10",
            "function add 12-12",
            "function plain 13-13",
            "function gen 14-14",
            "function named 15-15",
            "method Thing/late 16-16",
        ]
    );
    assert_eq!(targets(&record), ["path", "os"]);
    assert_eq!(record.exports, ["sum", "plain"]);
    assert_eq!(
        signature(&record, "Thing"),
        ("export class Thing extends Base", "A thing.")
    );
    assert_eq!(
        signature(&record, "add"),
        ("const add = (a, b) =>", "Adds.")
    );
}

#[test]
fn typescript() {
    let source = r#"import type { A } from "./a";
/** Does. */
export interface Doer<T> {
  go(x: T): void;
}
export type ID = string | number;
export enum Kind { A, B }
export abstract class Thing implements Doer<ID> {
  private hidden(): void {}
  abstract later(x: number): string;
}
declare function outside(a: string): void;
namespace N { export function inner() {} }
export default function main(): Promise<void> { return go(); }
"#;
    let expected = [
        "interface Doer 3-5",
        "method Doer/go 4-4",
        "type ID 6-6",
        "enum Kind 7-7",
        "class Thing 8-11",
        "method Thing/hidden 9-9",
        "method Thing/later 10-10",
        "function outside 12-12",
        "module N 13-13",
        "function N/inner 13-13",
        "function main 14-14",
    ];
    let record = outline("a.ts", source);
    assert_eq!(symbols(&record), expected);
    assert_eq!(targets(&record), ["./a"]);
    assert_eq!(
        signature(&record, "Doer"),
        ("export interface Doer<T>", "Does.")
    );
    let tsx = format!("{source}const View = () => <div>{{x}}</div>;\n");
    let record = outline("a.tsx", &tsx);
    assert_eq!(record.language, "tsx");
    assert!(record.warnings.is_empty(), "{:?}", record.warnings);
    assert_eq!(
        symbols(&record).last().map(|it| &**it),
        Some("function View 15-15")
    );
}

#[test]
fn java() {
    let source = r#"package a;

import java.util.List;
import static a.B.*;

/**
 * A thing.
 */
@Deprecated
public class Thing<T> extends Base implements Doer {
    public static final int LIMIT = 3;
    private int field;
    public Thing(int x) { }
    @Override
    protected List<T> go(int x) throws E { return make(x); }
    enum Kind { A, B }
    interface Inner { void act(); }
    record Point(int x, int y) { }
    public static void main(String[] args) { }
}
"#;
    let record = outline("Thing.java", source);
    assert_eq!(
        symbols(&record),
        [
            "class Thing 9-20",
            "constant Thing/LIMIT 11-11",
            "method Thing/Thing 13-13",
            "method Thing/go 14-15",
            "enum Thing/Kind 16-16",
            "interface Thing/Inner 17-17",
            "method Thing.Inner/act 17-17",
            "class Thing/Point 18-18",
            "method Thing/main 19-19",
        ]
    );
    assert_eq!(targets(&record), ["java.util.List", "static a.B.*"]);
    assert_eq!(record.symbols[0].doc, "A thing.");
    assert_eq!(record.entry_points[0].line, 19);
}

#[test]
fn c() {
    let source = r#"/* Adds numbers. */

#include <stdio.h>
#include "own.h"
#ifndef GUARD
#define GUARD
#define LIMIT 3
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* A thing. */
struct thing { int a; };
typedef struct { int x; } point_t;
typedef int (*callback)(int);
enum kind { A, B };

int prototype(int a);
static int (*pointer)(int);

// Adds.
static char *add(int a,
                 int b)
{
    struct thing t;
    return 0;
}
int main(void) { return add(1, 2); }
#endif
"#;
    let record = outline("a.c", source);
    assert_eq!(
        symbols(&record),
        [
            "macro LIMIT 7-7",
            "macro MAX 8-8",
            "struct thing 11-11",
            "type point_t 12-12",
            "type callback 13-13",
            "enum kind 14-14",
            "function prototype 16-16",
            "function add 20-25",
            "function main 26-26",
        ]
    );
    assert_eq!(record.summary, "Adds numbers.");
    assert_eq!(targets(&record), ["stdio.h", "own.h"]);
    assert_eq!(
        signature(&record, "add"),
        ("static char *add(int a, int b)", "Adds.")
    );
    assert_eq!(signature(&record, "MAX").0, "#define MAX(a, b)");
    assert_eq!(record.entry_points[0].name, "main");
}

#[test]
fn cpp() {
    let source = r#"#include <vector>

namespace a::b {
/// A thing.
template <typename T>
class Thing : public Base {
    int secret();
public:
    Thing(int x);
    ~Thing();
    virtual int& go(int x) const { return *make(x); }
    bool operator==(const Thing& o) const;
protected:
    struct Inner { int x; };
};
using Alias = int;
}

int a::b::Thing::secret() { return 1; }
static void local() {}
"#;
    let record = outline("a.cpp", source);
    assert_eq!(
        symbols(&record),
        [
            "module a::b 3-17",
            "class a::b/Thing 6-15",
            "method a::b::Thing/secret 7-7",
            "method a::b::Thing/Thing 9-9",
            "method a::b::Thing/~Thing 10-10",
            "method a::b::Thing/go 11-11",
            "method a::b::Thing/operator== 12-12",
            "struct a::b::Thing/Inner 14-14",
            "type a::b/Alias 16-16",
            "method a::b::Thing/secret 19-19",
            "function local 20-20",
        ]
    );
    assert_eq!(
        signature(&record, "Thing"),
        (
            "template <typename T> class Thing : public Base",
            "A thing."
        )
    );
    use precentor_core::context::Visibility::{Private, Public, Restricted};
    let seen: Vec<_> = record
        .symbols
        .iter()
        .map(|symbol| symbol.visibility)
        .collect();
    assert_eq!(
        seen[2..8],
        [Private, Public, Public, Public, Public, Restricted]
    );
    assert_eq!(outline("a.h", "class A {};\n").language, "cpp");
    assert_eq!(outline("a.h", "int f(void);\n").language, "c");
}
