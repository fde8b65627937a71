package api

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-bexpr"
	"github.com/hashicorp/go-bexpr/grammar"
	"github.com/mitchellh/pointerstructure"

	"github.com/drover-io/drover/internal/nearest"
)

// Limits of filters.
const (
	// maxFilter bounds the length of a filter expression, in bytes.
	maxFilter = 1024
	// maxFilterSteps bounds what the parser may do: nested brackets make it go back again and again.
	maxFilterSteps = 500_000
	// maxFilterRegexp bounds a regular expression in a filter, in bytes.
	maxFilterRegexp = 256
	// maxFilterLoops bounds how deep "any" and "all" may stand in each other.
	maxFilterLoops = 2
	// maxFilterTime bounds how long the items of one list are matched.
	maxFilterTime = 5 * time.Second
)

// filter is an expression such as `Status == "running" and Meta.team == "x"` over the fields of a list's items.
type filter struct {
	text   string
	eval   *bexpr.Evaluator
	fields map[string]filterField // that the expression names, by their JSON names
}

// filterField is where a top-level field is found.
type filterField struct {
	source int   // which of the values
	index  []int // as reflect.Value.FieldByIndex takes it
	typ    reflect.Type
}

// newFilter reads an expression over the fields of the sources: pointers to the list's item and to the row that it shows. A name
// that both have is the item's.
func newFilter(text string, sources ...reflect.Type) (*filter, error) {
	if len(text) > maxFilter {
		return nil, NewError(CodeInvalid, "make it shorter", "the filter is %d bytes long, at most %d are taken", len(text), maxFilter)
	}
	text = rawSlashes(text)
	ast, err := parseFilter(text)
	if err != nil {
		return nil, err
	}
	known := map[string]filterField{}
	for i, t := range sources {
		for name, f := range jsonFields(t.Elem()) {
			if _, have := known[name]; !have {
				known[name] = filterField{source: i, index: f.Index, typ: f.Type}
			}
		}
	}
	f := &filter{text: text, fields: map[string]filterField{}}
	if err := f.check(ast, known, nil); err != nil {
		return nil, err
	}
	if f.eval, err = bexpr.CreateEvaluator(text, bexpr.WithMaxExpressions(maxFilterSteps)); err != nil {
		return nil, badFilter(text, err)
	}
	zeros := make([]any, len(sources))
	for i, t := range sources {
		zeros[i] = reflect.New(t.Elem()).Interface()
	}
	if _, err := f.matches(zeros...); err != nil { // a word where a number stands, an operator that a field does not have
		return nil, err
	}
	return f, nil
}

// rawSlashes writes strings that begin with a slash between backquotes. The library reads "/bin/true" as the path of a field and
// loses the slash: such a comparison would be false for ever, and nobody would know why.
func rawSlashes(text string) string {
	out := []byte(text)
	for i := 0; i < len(out); i++ {
		if out[i] != '"' && out[i] != '`' {
			continue
		}
		quote, from := out[i], i
		for i++; i < len(out) && out[i] != quote; i++ {
			if out[i] == '\\' && quote == '"' {
				i++
			}
		}
		if quote == '"' && i < len(out) && out[from+1] == '/' && bytes.IndexAny(out[from:i], "\\`") < 0 {
			out[from], out[i] = '`', '`'
		}
	}
	return string(out)
}

// parseFilter parses, whatever is thrown at the library.
func parseFilter(text string) (ast grammar.Expression, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = badFilter(text, fmt.Errorf("%v", p))
		}
	}()
	parsed, err := grammar.Parse("", []byte(text), grammar.MaxExpressions(maxFilterSteps))
	if err != nil {
		return nil, badFilter(text, err)
	}
	ast, ok := parsed.(grammar.Expression)
	if !ok {
		return nil, badFilter(text, errors.New("no expression"))
	}
	return ast, nil
}

const filterHelp = `compare with ==, !=, in, contains, matches, is empty; join with and, or, not: Status == "running" and not Name matches "^test"`

// badFilter says where an expression cannot be read.
func badFilter(text string, err error) error {
	if strings.Contains(err.Error(), "max number of expressions") {
		return NewError(CodeInvalid, "use fewer brackets", "the filter is too deeply nested")
	}
	place := regexp.MustCompile(`^\d+:\d+ \((\d+)\): (.*)`).FindStringSubmatch(err.Error())
	if place == nil {
		return NewError(CodeInvalid, filterHelp, "the filter cannot be read: %s", err)
	}
	at := 0
	for _, digit := range place[1] {
		at = at*10 + int(digit-'0')
	}
	at = min(at, len(text))
	rest := text[at:]
	if len(rest) > 40 {
		rest = rest[:40] + "…"
	}
	if rest == "" {
		return NewError(CodeInvalid, filterHelp, "the filter ends too early, after %q", text)
	}
	return NewError(CodeInvalid, filterHelp, "the filter cannot be read at character %d, from %q on", at+1, rest)
}

// check refuses names that no item has, and notes those that the expression needs. bound are the names that "any" and "all" bind.
func (f *filter) check(e grammar.Expression, known map[string]filterField, bound []string) error {
	switch e := e.(type) {
	case *grammar.UnaryExpression:
		return f.check(e.Operand, known, bound)
	case *grammar.BinaryExpression:
		return errors.Join(f.check(e.Left, known, bound), f.check(e.Right, known, bound))
	case *grammar.MatchExpression:
		return errors.Join(checkRegexp(e), f.checkName(e.Selector.Path, known, bound))
	case *grammar.CollectionExpression:
		if len(bound) >= 2*maxFilterLoops {
			return NewError(CodeInvalid, "", "the filter has any and all more than %d deep", maxFilterLoops)
		}
		if err := f.checkName(e.Selector.Path, known, bound); err != nil {
			return err
		}
		b := e.NameBinding
		return f.check(e.Inner, known, append(slices.Clone(bound), firstOf(b.Default, b.Index), b.Value))
	}
	return nil
}

func checkRegexp(e *grammar.MatchExpression) error {
	if e.Operator != grammar.MatchMatches && e.Operator != grammar.MatchNotMatches {
		return nil
	}
	if len(e.Value.Raw) > maxFilterRegexp {
		return NewError(CodeInvalid, "make it shorter", "a regular expression of the filter is %d bytes long, at most %d are taken", len(e.Value.Raw), maxFilterRegexp)
	}
	if _, err := regexp.Compile(e.Value.Raw); err != nil {
		return NewError(CodeInvalid, "", "the filter's %q is no regular expression: %s", e.Value.Raw, err)
	}
	return nil
}

// checkName follows a name through the types, as far as they say what there can be.
func (f *filter) checkName(path []string, known map[string]filterField, bound []string) error {
	if len(path) == 0 || slices.Contains(bound, path[0]) {
		return nil
	}
	field, ok := known[path[0]]
	if !ok {
		return unknownName(path[:1], mapKeys(known))
	}
	f.fields[path[0]] = field
	t := field.typ
	for i, name := range path[1:] {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Struct:
			inner, ok := t.FieldByName(name)
			if !ok || !inner.IsExported() {
				return unknownName(path[:i+2], fieldNames(t))
			}
			t = inner.Type
		case reflect.Map, reflect.Slice, reflect.Array:
			t = t.Elem()
		case reflect.Interface:
			return nil // only the value knows
		default:
			return NewError(CodeInvalid, "", "the filter's %q: a %s has no fields", strings.Join(path, "."), t.Kind())
		}
	}
	return nil
}

func unknownName(path, known []string) error {
	slices.Sort(known)
	next := didYouMean(nearest.Name(path[len(path)-1], known))
	return NewError(CodeInvalid, firstOf(next, "the fields are "+strings.Join(known, ", ")), "the filter's %q is no field of these items", strings.Join(path, "."))
}

func mapKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// matches asks the expression about an item. What is not there (a pointer to nothing, an index beyond the end) does not match.
func (f *filter) matches(sources ...any) (match bool, err error) {
	datum := make(map[string]any, len(f.fields))
	for name, field := range f.fields {
		v, err := reflect.ValueOf(sources[field.source]).Elem().FieldByIndexErr(field.index)
		if err == nil {
			datum[name] = v.Interface()
		}
	}
	defer func() {
		if p := recover(); p != nil { // the library takes some values for others
			match, err = false, NewError(CodeInvalid, filterHelp, "the filter asks something that these items cannot answer: %v", p)
		}
	}()
	match, err = f.eval.Evaluate(datum)
	switch {
	case errors.Is(err, pointerstructure.ErrNotFound), errors.Is(err, pointerstructure.ErrInvalidKind), errors.Is(err, pointerstructure.ErrOutOfRange):
		return false, nil
	case err != nil:
		return false, NewError(CodeInvalid, filterHelp, "the filter asks something that these items cannot answer: %s", err)
	}
	return match, nil
}

// jsonFields are the fields that encoding/json shows of a struct, by the names that it gives them.
func jsonFields(t reflect.Type) map[string]reflect.StructField {
	out := map[string]reflect.StructField{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || f.Anonymous && name == "" {
			continue
		}
		name = firstOf(name, f.Name)
		if have, twice := out[name]; twice && len(have.Index) <= len(f.Index) {
			continue // the outer one hides it
		}
		out[name] = f
	}
	return out
}
