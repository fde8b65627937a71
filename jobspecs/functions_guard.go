package jobspecs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// A guard looks at the arguments of a function whose result or whose work may be far larger than they are, and refuses the call. The
// meter sees a result only when it is there already.
type guard func(args []cty.Value) error

func guards() map[string]guard {
	return map[string]guard{
		"format":        guardFormat,
		"formatlist":    guardFormat,
		"indent":        guardIndent,
		"join":          guardJoin,
		"parseint":      guardParseInt,
		"regex":         guardPattern,
		"regexall":      guardPattern,
		"regex_replace": guardRegexReplace,
		"replace":       guardReplace,
		"setproduct":    guardProduct,
		"yamldecode":    guardYAML,
	}
}

// guarded returns f behind a guard, and behind one for all: numbers beyond float64's range, such as tonumber("1e999999999"), would
// take gigabytes as whole numbers.
func guarded(f function.Function, g guard) function.Function {
	return function.New(&function.Spec{
		Params:   f.Params(),
		VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			if err := runGuard(g, args); err != nil {
				return cty.NilType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f.Call(args) },
	})
}

func runGuard(g guard, args []cty.Value) error {
	for _, a := range args {
		if !a.IsWhollyKnown() || a.IsNull() {
			return nil // the function says so itself
		}
		if a.Type() == cty.Number && !representable(a.AsBigFloat()) {
			return errors.New("the number is out of range")
		}
	}
	if g == nil {
		return nil
	}
	return g(args)
}

// product refuses results of more than MaxValue bytes.
func product(factors ...int) error {
	n := 1
	for _, f := range factors {
		if f = max(f, 1); n > MaxValue/f {
			return errors.New("the result would be too large")
		}
		n *= f
	}
	return nil
}

// hugeNumber is text that becomes a number of very many digits.
var hugeNumber = regexp.MustCompile(`^\s*[+-]?[0-9.]*[eE][+-]?[0-9]{4,}\s*$`)

// guardFormat refuses verbs such as %1000000000d, and text that %d would turn into a huge number.
func guardFormat(args []cty.Value) error {
	s, digits := args[0].AsString(), 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			digits = 0
			continue
		}
		if digits++; digits > 3 && ofVerb(s[:i+1]) {
			return fmt.Errorf("a width or precision may be at most %d", MaxFormatWidth)
		}
	}
	for _, a := range args[1:] {
		if a.Type() == cty.String && hugeNumber.MatchString(a.AsString()) {
			return errors.New("the number is out of range")
		}
		if !a.CanIterateElements() {
			continue
		}
		for it := a.ElementIterator(); it.Next(); {
			if _, e := it.Element(); !e.IsNull() && e.Type() == cty.String && hugeNumber.MatchString(e.AsString()) {
				return errors.New("the number is out of range")
			}
		}
	}
	return nil
}

// ofVerb reports whether the digits at the end of s belong to a verb: nothing but flags, digits and dots stands between a % and them.
func ofVerb(s string) bool {
	_, verb, found := cutLast(s, "%")
	return found && strings.Trim(verb, "0123456789.+-# []*") == ""
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func guardIndent(args []cty.Value) error {
	n, _ := args[0].AsBigFloat().Int64()
	if n < 0 || n > MaxValue {
		return fmt.Errorf("the number of spaces must be between 0 and %d", MaxValue)
	}
	return product(int(n), strings.Count(args[1].AsString(), "\n"))
}

func guardJoin(args []cty.Value) error {
	n := 0
	for _, a := range args[1:] {
		n += a.LengthInt()
	}
	return product(len(args[0].AsString()), n)
}

func guardParseInt(args []cty.Value) error {
	if args[0].Type() == cty.String && len(args[0].AsString()) > 300 {
		return errors.New("the number has too many digits")
	}
	return nil
}

func guardPattern(args []cty.Value) error { return checkPattern(args[0].AsString()) }

func checkPattern(pattern string) error {
	if n := len(pattern); n > MaxRegexpPattern {
		return fmt.Errorf("the pattern has %d bytes; it may have %d", n, MaxRegexpPattern)
	}
	return nil
}

func guardReplace(args []cty.Value) error {
	return product(strings.Count(args[0].AsString(), args[1].AsString()), len(args[2].AsString()))
}

func guardRegexReplace(args []cty.Value) error {
	s, pattern, with := args[0].AsString(), args[1].AsString(), args[2].AsString()
	if err := checkPattern(pattern); err != nil {
		return err
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil // the function says so itself
	}
	if err := product(len(s), strings.Count(with, "$")); err != nil { // each $ may repeat what matched
		return err
	}
	return product(len(re.FindAllStringIndex(s, -1)), len(with))
}

func guardProduct(args []cty.Value) error {
	sizes := []int{16 * len(args)}
	for _, a := range args {
		if a.CanIterateElements() {
			sizes = append(sizes, a.LengthInt())
		}
	}
	return product(sizes...)
}

var (
	yamlAlias  = regexp.MustCompile(`(^|[\s\[,{:-])\*[^\s*]`)
	yamlNumber = regexp.MustCompile(`(?m)(^|[\s\[,{:?-])[+-]?[0-9._]*[eE][+-]?[0-9_]{4,}`)
)

// guardYAML refuses texts whose aliases could multiply, and numbers that would be huge as the names of a map.
func guardYAML(args []cty.Value) error {
	s := args[0].AsString()
	if len(yamlAlias.FindAllStringIndex(s, MaxYAMLAliases+1)) > MaxYAMLAliases {
		return fmt.Errorf("the text has more than %d aliases", MaxYAMLAliases)
	}
	if yamlNumber.MatchString(s) {
		return errors.New("the text has a number that is out of range")
	}
	return nil
}
